"""How many examples of Hypothesis a test is given."""

from hypothesis import settings


def many(times: int) -> settings:
    """Settings with a multiple of the profile's examples, for what fewer of them miss.

    `make test` draws few, others in each run, and `make soak` twelve times as many.
    """
    assert settings.default is not None
    return settings(max_examples=times * settings.default.max_examples)
