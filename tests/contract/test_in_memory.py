"""The contract on the real channel and routes, in memory."""

import pytest

from tests.contract.cases import CASES, Case
from tests.serve.http.connection import Server


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(server: Server, case: Case) -> None:
    case.verify(server.connect().ask(case.request))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_byte_by_byte(server: Server, case: Case) -> None:
    case.verify(server.connect().ask(*(bytes([byte]) for byte in case.request)))


# A request line that can't be parsed has no method.
WITH_GET = [
    case
    for case in CASES
    if case.request.startswith(b"GET") and case.name not in ("400 target", "505")
]


@pytest.mark.parametrize("case", WITH_GET, ids=lambda case: case.name)
def test_head_is_get_without_a_body(server: Server, case: Case) -> None:
    whole = server.connect().ask(case.request)
    connection = server.connect()
    connection.send(case.request.replace(b"GET", b"HEAD", 1))
    (head,) = connection.received(heads_only=True)
    assert head.status == whole.status
    assert head.headers == whole.headers
