"""What tests of the net room share."""

from collections.abc import Iterator

import pytest

from tests.net.streams import ENDPOINTS, PLAIN, Harness


@pytest.fixture(params=ENDPOINTS)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A port of the loop's own, one of Twisted's, and one of the loop's own with TLS."""
    made = Harness(ENDPOINTS[request.param], is_secure=request.param == "tls")
    yield made
    made.close()


@pytest.fixture(params=PLAIN)
def plain_harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A port of the loop's own, then one of Twisted's, without TLS."""
    made = Harness(ENDPOINTS[request.param])
    yield made
    made.close()
