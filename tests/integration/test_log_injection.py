"""Whatever callers send to the real twistd, its access log has one line an answer."""

import itertools
import re
import socket
from pathlib import Path

import pytest

from tests.data.files import xdb
from tests.integration.daemon import Daemons, receive
from tests.serve.http.connection import parse_responses
from tests.serve.http.log_lines import (
    EVIL,
    LOOK_UP,
    TOLD,
    Line,
    as_told,
    cut,
    of_combined,
    of_json,
    request,
)

PARTS = (b"method", b"target", *TOLD)


def _statuses_to_the_end(connection: socket.socket, sent: bytes) -> list[int]:
    """Of all answers to the last requests on a connection."""
    connection.sendall(sent)
    got = b""
    while more := connection.recv(65536):
        got += more
    return [answer.status for answer in parse_responses(got)]


@pytest.mark.parametrize("name", ["combined_with_ids", "json"])
@pytest.mark.parametrize("flags", [[], ["--no-express"]], ids=["express", "no-express"])
def test_each_answer_is_one_line(
    daemons: Daemons, tmp_path: Path, name: str, flags: list[str]
) -> None:
    (tmp_path / "db.xdb").write_bytes(xdb([(1 << 24, (2 << 24) - 1, "中国|0|河南省|商丘市|联通")]))
    path = tmp_path / "access.log"
    config = f'workers = 1\n[access_log]\npath = "{path}"\nformat = "{name}"\n'
    daemon = daemons.start("--db", tmp_path / "db.xdb", *flags, config=config)
    statuses: list[int] = []
    told: set[bytes] = set()
    for part, text in itertools.product(PARTS, EVIL):
        with daemon.connect() as connection:
            for before in (b"1", b"2", b"3"):
                connection.sendall(request(part if part in TOLD else b"", before))
                statuses.append(receive(connection).status)
            statuses += _statuses_to_the_end(connection, request(part, text, closes=True))
        for asked in (LOOK_UP, b"/nowhere?"):
            with daemon.connect() as connection:
                got = _statuses_to_the_end(connection, request(part, text, asked, closes=True))
            statuses += got
        if got[0] == 404 and part in TOLD and b"\r\n" not in text:
            told.add(cut(part, text.strip(b" \t")))
    daemon.stop()
    lines = path.read_text("ascii").splitlines()
    assert all(re.fullmatch("[ -~]+", line) for line in lines)
    said: list[Line] = [of_json(line) if name == "json" else of_combined(line) for line in lines]
    # Workers write in batches, each its own.
    assert sorted(line.status for line in said) == sorted(statuses)
    values = {value for line in said for value in line.fields.values()}
    assert len(told) > 10
    assert {as_told(text).encode() if name == "json" else text for text in told} <= values
