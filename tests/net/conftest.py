"""What tests of the net room share."""

from collections.abc import Iterator

import pytest

from tests.net.streams import ENDPOINTS, Harness


@pytest.fixture(params=ENDPOINTS)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A port of the loop's own, then one of Twisted's."""
    made = Harness(ENDPOINTS[request.param])
    yield made
    made.close()
