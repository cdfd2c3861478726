"""API keys: whose requests are answered, and what a file of them may be."""

import gc
import itertools
import json
import stat
import threading
import weakref
from pathlib import Path

import pytest

from ipquery.errors import ConfigError
from ipquery.serve.guard.key_file import add_key, list_keys, revoke_key
from ipquery.serve.guard.keys import Key, Keys, hash_of, make_key, parse_keys, read_text, to_text
from ipquery.serve.guard.settings import GuardSettings
from tests.serve.http.connection import Server, get, post
from tests.serve.http.logged import MemoryFile, memory_log

CREATED = "2026-11-29T08:00:00Z"
KEY, OTHER, STRANGE = make_key(), make_key(), make_key()


def entry(name: str, key: str) -> Key:
    return Key(name, hash_of(key.encode()).hex(), CREATED)


GUARD = GuardSettings(keys=to_text([entry("one", KEY), entry("other", OTHER)]))
NOBODY = GuardSettings(keys=to_text([]))
TARGETS = ("/api/ip_query?ip=1.2.3.4", "/v1/ip/1.2.3.4", "/metrics", "/")


# Requests


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("fields", "is_known"),
    [
        ([f"Authorization: Bearer {KEY}"], True),
        ([f"authorization:bearer  {OTHER}"], True),
        ([f"X-Api-Key: {KEY}"], True),
        ([f"x-api-key:{OTHER}\t"], True),
        (["Authorization: Basic eDp5", f"X-Api-Key: {KEY}"], True),
        ([f"X-Api-Key: {STRANGE}", f"Authorization: Bearer {KEY}"], True),
        ([], False),
        ([f"Authorization: Bearer {STRANGE}"], False),
        ([f"Authorization: {KEY}"], False),
        ([f"Authorization: Basic {KEY}"], False),
        ([f"Authorization: Bearer {KEY} x"], False),
        ([f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}"], False),
        ([f"X-Api-Key: {KEY[:-1]}"], False),
        ([f"X-Api-Key: {KEY}x"], False),
        ([f"X-Api-Key: {KEY.lower()}"], False),
        (["X-Api-Key:"], False),
        ([f"X-Api-Key: {hash_of(KEY.encode()).hex()}"], False),
    ],
)
def test_a_known_key_is_needed(
    target: str, fields: list[str], is_known: bool, express: bool
) -> None:
    connection = Server(express=express, guard=GUARD).connect()
    for _ in range(4):
        response = connection.ask(get(target, *fields))
        assert response.status == (200 if is_known else 401)
        assert response.headers.get("WWW-Authenticate") == (None if is_known else "Bearer")
    assert connection.open


def test_what_is_told_without_one() -> None:
    connection = Server(guard=GUARD).connect()
    assert connection.ask(get(TARGETS[0])).message == "a key is needed"
    assert (
        connection.ask(get(TARGETS[0], "X-Api-Key: x")).message == "this isn't a key that is known"
    )
    assert connection.ask(get("/v1/ip/1.2.3.4")).json == {
        "type": "/docs#problem-no-key",
        "title": "A key is needed",
        "status": 401,
        "detail": "a key is needed",
    }


@pytest.mark.parametrize("express", [True, False])
def test_one_is_needed_for_each_request(express: bool) -> None:
    """Also behind those that have one, on the same connection, whatever was learnt from them."""
    server = Server(express=express, guard=GUARD)
    connection = server.connect()
    mine, theirs = f"Authorization: Bearer {KEY}", f"Authorization: Bearer {STRANGE}"
    for fields, status in (
        [([mine], 200)] * 4
        + [([theirs], 401)]
        + [([mine], 200)] * 3
        + [([], 401)]
        + [([mine], 200), ([theirs], 401)] * 3
    ):
        for _ in range(2):
            assert connection.ask(get(TARGETS[0], *fields)).status == status


def test_nor_does_one_open_other_connections() -> None:
    site = Server(guard=GUARD).site
    for fields, status in (
        ([f"X-Api-Key: {KEY}"], b"200"),
        ([f"X-Api-Key: {STRANGE}"], b"401"),
    ) * 4:
        answer = site.answer_first(get(TARGETS[0], *fields), ("192.0.2.7", 4711))
        assert answer is not None
        assert answer[0].split(b" ")[1] == status


def test_without_any_key_nobody_is_answered_but_health_checks() -> None:
    connection = Server(guard=NOBODY).connect()
    assert connection.ask(get(TARGETS[0], f"X-Api-Key: {KEY}")).status == 401
    assert connection.ask(get("/healthz")).status == 200
    assert connection.ask(get("/readyz")).status == 200


def test_batches_need_one_too() -> None:
    batch = {"target": "/v1/batch"}
    fields = ["Content-Type: text/plain"]
    connection = Server(guard=GUARD).connect()
    assert connection.ask(post(b"1.2.3.4\n", *fields, f"X-Api-Key: {KEY}", **batch)).status == 200
    refused = connection.ask(post(b"1.2.3.4\n", *fields, **batch))
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_browsers_may_ask_whether_a_page_may_send_one() -> None:
    connection = Server(guard=GUARD).connect()
    connection.send(get("/v1/ip/1.2.3.4", "Origin: https://a.example", method="OPTIONS"))
    (response,) = connection.received()
    assert response.status == 204


@pytest.mark.parametrize("express", [True, False])
def test_other_keys_hold_from_the_next_request_on(express: bool) -> None:
    server = Server(express=express, guard=GUARD)
    mine, theirs = (get(TARGETS[0], f"X-Api-Key: {key}") for key in (KEY, STRANGE))
    connection = server.connect()
    for _ in range(4):
        assert connection.ask(mine).status == 200
        server.site.answer_first(mine, ("192.0.2.7", 4711))
    assert server.guard is not None
    server.guard.keys = Keys([entry("new", STRANGE)])
    server.site.forget_lessons()
    assert connection.ask(mine).status == 401
    assert connection.ask(theirs).status == 200
    if express:
        answer = server.site.answer_first(mine, ("192.0.2.7", 4711))
        assert answer is not None
        assert answer[0].startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("name", ["combined", "combined_with_ids", "json"])
def test_keys_are_never_logged(name: str) -> None:
    file = MemoryFile()
    server = Server(guard=GUARD, log=memory_log(file, name))
    connection = server.connect()
    for key in (KEY, KEY, KEY, STRANGE):
        connection.ask(get(TARGETS[0], f"Authorization: Bearer {key}", f"X-Api-Key: {key}"))
    server.advance(1)
    assert len(file.lines) == 4
    assert not any(key in line for line in file.lines for key in (KEY, STRANGE))
    assert hash_of(KEY.encode()).hex() not in repr(GUARD)


def test_what_is_kept_of_keys_that_came_is_bounded() -> None:
    keys = Keys([entry("one", KEY)])

    def kept(scheme: str, blanks: int) -> tuple[int, int]:
        fields = {b"authorization": f"{scheme}{' ' * blanks}{KEY}".encode()}
        assert keys.admit(fields)
        passage = keys.passage(fields)
        assert passage is not None
        return max(map(len, passage.values), default=0), len(passage.values)

    schemes = ["".join(one) for one in itertools.product(*zip("bearer", "BEARER", strict=True))]
    most = [kept(scheme, blanks) for scheme in schemes for blanks in range(1, 100)]
    assert len(most) > 4096
    assert max(most) < (200, 0)
    assert max(count for _, count in most) <= 4096


def test_of_two_keys_neither_is_learnt_from() -> None:
    """It would be compared as text with what comes next."""
    keys = Keys([entry("one", KEY), entry("other", OTHER)])
    fields = {b"x-api-key": KEY.encode(), b"authorization": f"Bearer {OTHER}".encode()}
    assert keys.admit(fields)
    assert keys.passage(fields) is None
    fields[b"authorization"] = b"Basic eDp5"
    passage = keys.passage(fields)
    assert passage is not None
    assert passage.field == b"x-api-key"


# Files


def test_a_new_key_is_in_the_file_by_name_and_hash_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    one, other = add_key(path, "one", CREATED), add_key(path, "an.other-1", CREATED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list_keys(path) == (entry("one", one), entry("an.other-1", other))
    assert one not in path.read_text()
    assert Keys(list_keys(path)).admit({b"x-api-key": one.encode()})
    revoke_key(path, "one")
    assert list_keys(path) == (entry("an.other-1", other),)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["keys.json"]


def test_keys_are_never_the_same() -> None:
    keys = {make_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert min(map(len, keys)) == len("ipq_") + 43  # 256 bits in base64


def test_several_at_the_same_time_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    threads = [
        threading.Thread(target=add_key, args=(path, f"key-{number}", CREATED))
        for number in range(20)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {key.name for key in list_keys(path)} == {f"key-{number}" for number in range(20)}


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "x" * 65, "é", "../x"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(ConfigError, match="is no name for a key"):
        add_key(path, name, CREATED)
    assert not path.exists()


def test_what_is_there_already_or_not_there_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(ConfigError, match="can't read these API keys: No such file"):
        revoke_key(path, "one")
    add_key(path, "one", CREATED)
    before = path.read_text()
    with pytest.raises(ConfigError, match="there is a key one"):
        add_key(path, "one", CREATED)
    with pytest.raises(ConfigError, match="there is no key 'two'"):
        revoke_key(path, "two")
    assert path.read_text() == before
    with pytest.raises(ConfigError, match="can't open the folder"):
        add_key(tmp_path / "nowhere" / "keys.json", "one", CREATED)


GOOD = json.loads(to_text([entry("one", KEY), entry("other", OTHER)]))
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        TEXT[:-1],
        TEXT.replace('"version": 1', '"version": 2'),
        TEXT.replace('"keys"', '"key"'),
        json.dumps({**GOOD, "more": 1}),
        json.dumps({**GOOD, "keys": [*GOOD["keys"], GOOD["keys"][0]]}),
        json.dumps({**GOOD, "keys": [{**GOOD["keys"][0], "name": "a b"}]}),
        json.dumps({**GOOD, "keys": [{**GOOD["keys"][0], "sha256": KEY}]}),
        json.dumps({**GOOD, "keys": [{**GOOD["keys"][0], "created": "today"}]}),
        json.dumps({**GOOD, "keys": [{**GOOD["keys"][0], "more": "x"}]}),
        json.dumps({**GOOD, "keys": [{"name": "x"}]}),
        json.dumps({**GOOD, "keys": ["x"]}),
        json.dumps({**GOOD, "keys": [GOOD["keys"][0], {**GOOD["keys"][0], "name": "x"}]}),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_refused_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys.json: no file of API keys as ipquery key writes"):
        read_text(path)
    with pytest.raises(ConfigError):
        add_key(path, "more", CREATED)
    assert path.read_text() == text


def test_so_is_one_that_everybody_may_write(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "one", CREATED)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="everybody may write these API keys; chmod o-w"):
        read_text(path)
    path.chmod(0o664)
    read_text(path)


def test_and_one_cut_off_anywhere() -> None:
    whole = to_text([entry("one", KEY), entry("other", OTHER)])
    for end in range(len(whole.rstrip())):
        with pytest.raises(ValueError, match="not JSON"):
            parse_keys(whole[:end])


# Connections


@pytest.mark.parametrize("guard", [GuardSettings(), GUARD])
def test_a_connection_that_is_gone_leaves_no_garbage(guard: GuardSettings) -> None:
    server = Server(guard=guard)
    gc.collect()
    gc.disable()
    try:
        connection = server.connect()
        for _ in range(3):
            connection.ask(get(TARGETS[0], f"X-Api-Key: {KEY}"))
        gone = weakref.ref(connection.channel)
        connection.transport.loseConnection()
        server.connections.clear()
        # As transports of the reactor do; this one is kept by its channel.
        connection.transport.unregisterProducer()
        del connection.transport.protocol, connection
        assert gone() is None
    finally:
        gc.enable()
