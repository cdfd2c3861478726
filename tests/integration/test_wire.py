"""What comes in as bytes, over real sockets to the real twistd."""

import re
import select
import socket
from collections.abc import Iterator

import pytest

from tests.contract.wire import FOLLOWING, Outcome, Wire
from tests.contract.wire_cases import CASES
from tests.data.files import xdb
from tests.integration.daemon import Daemon, exchange
from tests.serve.http.connection import parse_responses


@pytest.fixture(scope="module", params=[[], ["--no-express"]], ids=["express", "no-express"])
def daemon(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cached: dict[str, str],
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    database = folder / "db.xdb"
    database.write_bytes(xdb([(1 << 24, (2 << 24) - 1, "中国|0|河南省|商丘市|联通")]))
    with Daemon(folder, "--db", database, *request.param, environment=cached) as running:
        yield running.wait_until_up()


_HEAD = re.compile(rb"HTTP/1\.1 (\d{3})(?:.*\r\n)*?(?:Content-Length: (\d+)\r\n(?:.+\r\n)*)?\r\n")


def _count(got: bytes) -> int:
    """How many whole responses were received, 100 not counted."""
    count = at = 0
    while (match := _HEAD.match(got, at)) and match.end() + int(match[2] or 0) <= len(got):
        count += match[1] != b"100"
        at = match.end() + int(match[2] or 0)
    return count


def _received(connection: socket.socket, expected: int) -> Outcome:
    """What was answered: so many responses, or until the end."""
    got, is_open = b"", True
    while is_open and _count(got) < expected:
        more = connection.recv(65536)
        is_open = bool(more)
        got += more
    return Outcome(parse_responses(got), is_open)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_thing_comes_of_it(daemon: Daemon, case: Wire) -> None:
    with daemon.connect() as connection:
        connection.sendall(case.sent)
        if not case.statuses:
            # Who asks after it has an answer; had this one been answered, it would be here.
            for _ in range(2):
                assert daemon.ask(FOLLOWING).status == 200
            assert select.select([connection], [], [], 0)[0] == []
        elif case.is_kept:
            case.verify(_received(connection, len(case.statuses)))
            assert exchange(connection, FOLLOWING).status == 200
        else:
            # One response more than there may be: so it is read to the end.
            case.verify(_received(connection, len(case.statuses) + 1))
