"""The cache in a real Redis, and everything that may be wrong with it."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.integration.daemon import Daemon, Daemons, exchange, until
from tests.integration.databases import ONE, ONE_ANSWER, OTHER, OTHER_ANSWER, QUERY
from tests.integration.load import Load
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.remote import Babbler, Remote
from tests.serve.http.connection import get

UNKNOWN = get("/api/ip_query?ip=9.9.9.9")
REMOTE_ANSWER = b'["","DE","","None","","None","",""]'


@pytest.fixture
def start(tmp_path: Path, daemons: Daemons) -> Callable[..., Daemon]:
    """Starts daemons of one worker on the database ``db.xdb``."""
    (tmp_path / "db.xdb").write_bytes(ONE)

    def call(cache: str, fallback: str | None = None, **more: str) -> Daemon:
        text = f"workers = 1\n[[database]]\npath = '{tmp_path}/db.xdb'\n[cache]\n{cache}\n"
        if fallback:
            text += f"[[fallback]]\nurl = '{fallback}'\n"
        return daemons.start(config=text, **more)

    return call


Start = Callable[..., Daemon]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


def _cache_is(daemon: Daemon, *states: str, seconds: float = 20) -> None:
    """Wait until its breaker is in one of these states."""
    deadline = time.monotonic() + seconds
    while (state := daemon.ask(get("/readyz")).json["cache"]) not in states:
        assert time.monotonic() < deadline, f"the cache is {state}"
        time.sleep(0.05)


def _holds(redis: RedisServer, count: int) -> list[str]:
    """Wait until it holds so many keys, as results are kept after they are given; the keys."""
    deadline = time.monotonic() + 10
    while not redis.ask("DBSIZE").startswith(b":%d\r\n" % count):
        assert time.monotonic() < deadline, redis.ask("KEYS", "*")
        time.sleep(0.02)
    # Each is a line with its length, and a line.
    return [line.decode() for line in redis.ask("KEYS", "*").split(b"\r\n")[2 : 2 * count + 1 : 2]]


def _everything(redis: RedisServer) -> str:
    return f"redis = 'redis://127.0.0.1:{redis.port}'\nscope = 'all'"


def test_nodes_share_what_remote_sources_say(start: Start, redis: RedisServer) -> None:
    with Remote(200, REMOTE_ANSWER) as remote:
        cache = f"redis = 'redis://127.0.0.1:{redis.port}'"
        for _ in range(2):
            daemon = start(cache, remote.url)
            _cache_is(daemon, "closed")
            for _ in range(3):
                assert daemon.ask(UNKNOWN).body == REMOTE_ANSWER
        assert remote.asked == ["/ask?ip=9.9.9.9"]
        # Nothing else is in it, and everything goes away.
        assert daemon.ask(QUERY).body == ONE_ANSWER
        (key,) = _holds(redis, 1)
        assert 86_000 < int(redis.ask("TTL", key).split(b"\r\n")[0][1:]) <= 86_400


def test_that_nobody_knows_is_kept_for_a_shorter_time(start: Start, redis: RedisServer) -> None:
    with Remote(501, b"{}") as remote:
        daemon = start(f"redis = 'redis://127.0.0.1:{redis.port}'", remote.url)
        _cache_is(daemon, "closed")
        for _ in range(3):
            assert daemon.ask(UNKNOWN).status == 501
        assert len(remote.asked) == 1
        (key,) = _holds(redis, 1)
        assert 200 < int(redis.ask("TTL", key).split(b"\r\n")[0][1:]) <= 300


def test_a_reload_never_serves_old_answers(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    daemon = start(_everything(redis))
    _cache_is(daemon, "closed")
    for content, answer in ((ONE, ONE_ANSWER), (OTHER, OTHER_ANSWER), (ONE, ONE_ANSWER)):
        (tmp_path / "db.xdb").write_bytes(content)
        before = daemon.log.count("reloaded; answering")
        daemon.process.send_signal(signal.SIGHUP)
        while daemon.log.count("reloaded; answering") == before:
            time.sleep(0.02)
        for _ in range(3):
            assert daemon.ask(QUERY).body == answer
    assert len(_holds(redis, 2)) == 2


def test_over_a_unix_socket_with_a_password_in_a_database(start: Start, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "secret") as redis:
        url = f"unix:{redis.socket}?db=3"
        without = start(f"redis = '{url}'\nscope = 'all'")
        without.wait_for_log("is left alone for now: .*(NOAUTH|Authentication required)")
        assert without.ask(QUERY).body == ONE_ANSWER
        daemon = start(f"redis = '{url}&password=secret'\nscope = 'all'")
        _cache_is(daemon, "closed")
        assert daemon.ask(QUERY).body == ONE_ANSWER
        deadline = time.monotonic() + 10
        while b"db3:keys=1" not in redis.ask("AUTH secret\r\nINFO keyspace"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_one_that_keeps_nothing_is_said(start: Start, redis: RedisServer) -> None:
    daemon = start(f"redis = 'redis://127.0.0.1:{redis.port}'")
    daemon.wait_for_log("a cache is named, but nothing is kept in it")


def test_a_password(start: Start, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "se/cret") as redis:
        cache = f"redis = 'redis://:${{REDIS_PASSWORD}}@127.0.0.1:{redis.port}'\nscope = 'all'"
        right = start(cache, REDIS_PASSWORD="se%2Fcret")
        _cache_is(right, "closed")
        wrong = start(cache, REDIS_PASSWORD="wrong")
        wrong.wait_for_log("is left alone for now: .*(WRONGPASS|invalid)")
        for daemon in (right, wrong):
            assert daemon.ask(QUERY).body == ONE_ANSWER
            assert "cret" not in daemon.log
        # It comes back when it is let in, although txredisapi gives up at the first refusal.
        redis.ask("AUTH se/cret\r\nCONFIG SET requirepass wrong")
        _cache_is(wrong, "closed")


def _tls(certificate: Path, key: Path) -> list[str]:
    return [
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
    ]


def test_tls_is_verified_by_the_hosts_name(start: Start, tmp_path: Path) -> None:
    for host, state in (("localhost", "closed"), ("other.example", "open")):
        certificate, key = self_signed(tmp_path, host)
        with RedisServer(tmp_path, *_tls(certificate, key)) as redis:
            daemon = start(
                f"redis = 'rediss://localhost:{redis.port}'\nscope = 'all'\n"
                f"ca_file = '{certificate}'"
            )
            if state == "open":
                daemon.wait_for_log("is left alone for now")
            _cache_is(daemon, state)
            assert daemon.ask(QUERY).body == ONE_ANSWER
            daemon.stop()


def test_a_certificate_that_nobody_vouches_for_is_refused(start: Start, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    with RedisServer(tmp_path, *_tls(certificate, key)) as redis:
        daemon = start(f"redis = 'rediss://localhost:{redis.port}'\nscope = 'all'")
        daemon.wait_for_log("is left alone for now")
        assert daemon.ask(QUERY).body == ONE_ANSWER


def test_the_master_that_sentinels_know(start: Start, tmp_path: Path, redis: RedisServer) -> None:
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor main 127.0.0.1 {redis.port} 1\n")
    with RedisServer(tmp_path, sentinel=config) as sentinel:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
        daemon = start(f"redis = 'redis+sentinel://{hosts}/main'\nscope = 'all'")
        _cache_is(daemon, "closed")
        assert daemon.ask(QUERY).body == ONE_ANSWER
        assert len(_holds(redis, 1)) == 1


def _shipped_users() -> list[str]:
    """Those of conf/redis, as options; there is an admin, too, for sentinels."""
    text = (Path(__file__).parents[2] / "conf/redis/redis.conf").read_text()
    text = text.replace("CHANGE-ME", "secret").replace(
        "#user admin on >ANOTHER", "user admin on >x"
    )
    users = re.findall("^user (.*)$", text, re.MULTILINE)
    assert len(users) == 3
    return [word for user in users for word in ("--user", *user.split())]


@pytest.mark.parametrize(
    ("place", "database"), [("redis://ipquery:secret@127.0.0.1:{}", ""), ("sentinel", "/2")]
)
def test_the_user_that_is_shipped_can_do_what_is_needed(
    start: Start, tmp_path: Path, place: str, database: str
) -> None:
    config = tmp_path / "sentinel.conf"
    with Remote(200, REMOTE_ANSWER) as remote, ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path, *_shipped_users()))
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {redis.port} 1\n"
            "sentinel auth-user main admin\nsentinel auth-pass main x\n"
        )
        url = place.format(redis.port)
        if place == "sentinel":
            sentinel = stack.enter_context(RedisServer(tmp_path, sentinel=config))
            url = f"redis+sentinel://ipquery:secret@127.0.0.1:{sentinel.port}/main"
        for _ in range(2):
            daemon = start(f"redis = '{url}{database}'", remote.url)
            _cache_is(daemon, "closed")
            assert daemon.ask(UNKNOWN).body == REMOTE_ANSWER
        # The second had it from Redis, as the first may write and both may read.
        assert remote.asked == ["/ask?ip=9.9.9.9"]
        refused = redis.ask("AUTH ipquery secret\r\nACL LOG\r\nAUTH admin x\r\nACL LOG")
        assert b"NOPERM" in refused, "of our own ACL LOG, and of nothing else"
        assert set(re.findall(rb"object\r\n\$\d+\r\n(\S+)", refused)) <= {b"acl|log"}
        daemon.stop()


# Faults, under load


@pytest.fixture
def loaded(start: Start, redis: RedisServer) -> Iterator[Daemon]:
    """A daemon that asks Redis for everything and is asked all the time; no answer is lost."""
    daemon = start(_everything(redis))
    _cache_is(daemon, "closed")
    with Load(daemon.port) as load:
        load.wait_for(200)
        yield daemon
        load.wait_for(200)
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert set(load.result.answers) == {ONE_ANSWER}
    assert "Traceback" not in daemon.log
    assert "Unhandled" not in daemon.log


def test_stopped_and_started(loaded: Daemon, redis: RedisServer) -> None:
    for _ in range(2):
        redis.stop()
        _cache_is(loaded, "open")
        redis.start()
        _cache_is(loaded, "closed")
    loaded.wait_for_log("is left alone for now")
    loaded.wait_for_log("answers again")


def test_frozen(loaded: Daemon, redis: RedisServer) -> None:
    redis.send_signal(signal.SIGSTOP)
    _cache_is(loaded, "open")
    redis.send_signal(signal.SIGCONT)
    _cache_is(loaded, "closed")
    loaded.wait_for_log("is left alone for now: Not received Redis response in 0.05 seconds")


def test_slow(loaded: Daemon, redis: RedisServer) -> None:
    for _ in range(3):
        redis.ask("DEBUG", "SLEEP", "0.3")
    _cache_is(loaded, "closed")


def test_full(loaded: Daemon, redis: RedisServer) -> None:
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    redis.ask("FLUSHALL")
    loaded.wait_for_log("takes no results: OOM command not allowed")
    _cache_is(loaded, "closed")
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    loaded.wait_for_log("takes results again")


def test_a_password_that_is_asked_for_all_at_once(loaded: Daemon, redis: RedisServer) -> None:
    redis.ask("CONFIG", "SET", "requirepass", "new")
    redis.ask("AUTH new\r\nCLIENT KILL TYPE normal SKIPME yes")
    _cache_is(loaded, "open")
    redis.ask("AUTH new\r\nCONFIG SET requirepass ''")
    _cache_is(loaded, "closed")


def _is_asked(redis: RedisServer) -> None:
    """Wait until Redis is asked for a value once more."""

    def count() -> int:
        (asked,) = re.findall(rb"cmdstat_get:calls=(\d+)", redis.ask("INFO", "commandstats"))
        return int(asked)

    before = count()
    until(lambda: count() > before)


def test_somebody_elses_values_under_our_keys(loaded: Daemon, redis: RedisServer) -> None:
    (key,) = _holds(redis, 1)
    for value in ('["a","b"]', "x", f'"{key} [1,2,3,4,5,6,7,8]"'):
        redis.ask("SET", key, value)
        _is_asked(redis)
    # In UTF-16, and with half a character, json.loads takes them all the same.
    for answer in (OTHER_ANSWER.decode().encode("utf-16"), b'["\\ud800"' + b',"x"' * 7 + b"]"):
        redis.ask("DEL", key)  # while it is there, the cache is left alone again and again
        _cache_is(loaded, "closed")
        kept = key.encode() + b" " + answer
        redis.send(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n" % (len(key), key.encode())
            + b"$%d\r\n%b\r\n" % (len(kept), kept)
        )
        _is_asked(redis)
    redis.ask("DEL", key)
    redis.ask("LPUSH", key, "x")
    _is_asked(redis)
    redis.ask("DEL", key)
    _cache_is(loaded, "closed")


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\r\n",
        b"$-x\r\n",
        b"$1000000000\r\n",
        b"+PONG\r\n+PONG\r\n+PONG\r\n",
        b":1\r\n",
        b"*2\r\n$1\r\na\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"",
    ],
)
def test_garbage(start: Start, words: bytes) -> None:
    babbler = Babbler(words)
    daemon = start(f"redis = 'redis://127.0.0.1:{babbler.port}'\nscope = 'all'")
    with Load(daemon.port) as load:
        load.wait_for(500)
    babbler.stop()
    assert load.result.lost == []
    assert set(load.result.answers) == {ONE_ANSWER}
    assert "Traceback" not in daemon.log
    assert daemon.ask(QUERY).body == ONE_ANSWER


def test_none_at_the_start(start: Start, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    daemon = start(_everything(redis))
    daemon.wait_for_log("is left alone for now: can't connect")
    assert daemon.ask(QUERY).body == ONE_ANSWER
    with redis:
        _cache_is(daemon, "closed")
        assert daemon.ask(QUERY).body == ONE_ANSWER


def test_without_redis_everything_takes_the_short_way_again(
    start: Start, redis: RedisServer
) -> None:
    daemon = start(_everything(redis))
    with daemon.connect() as connection:
        for _ in range(2):
            _cache_is(daemon, "closed")
            asked = _gets(redis)
            for _ in range(3):
                assert exchange(connection, QUERY).body == ONE_ANSWER
            assert _gets(redis) == asked + 3
            redis.stop()
            for _ in range(10):
                assert exchange(connection, QUERY).body == ONE_ANSWER
            _cache_is(daemon, "open")
            redis.start()


def _gets(redis: RedisServer) -> int:
    found = re.search(rb"cmdstat_get:calls=(\d+)", redis.ask("INFO", "commandstats"))
    return int(found[1]) if found else 0


def test_no_redis_means_no_state(start: Start) -> None:
    assert start("").ask(get("/readyz")).json == {"status": "ready"}
