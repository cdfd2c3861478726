"""What a run may be: bounded, and only against what is the user's."""

import pytest

from loadgen.send.plan import (
    Plan,
    PlanError,
    Target,
    decode,
    parse_duration,
    parse_header,
    parse_mix,
    parse_target,
)

HERE = Target("127.0.0.1", 8080, "127.0.0.1")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/", "http://[::1]:8080", "http://localhost:8080/", "http://127.9.9.9"],
)
def test_this_machine_may_be_asked(url: str) -> None:
    assert parse_target(url).path == "/api/ip_query"


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://[2001:db8::1]:80/", "http://10.0.0.1", "http://0.0.0.0/"]
)
def test_another_machine_must_be_owned(url: str) -> None:
    with pytest.raises(PlanError, match="--yes-i-own") as refused:
        parse_target(url)
    host = str(refused.value).rpartition(" ")[2]
    assert parse_target(url, [host]).host == host


def test_to_own_one_host_is_not_to_own_another() -> None:
    with pytest.raises(PlanError, match="--yes-i-own"):
        parse_target("http://192.0.2.1/", ["192.0.2.2"])


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8080", "ftp://127.0.0.1/", "http://", "http://u@127.0.0.1/", "http://[::1/",
     "http://127.0.0.1:99999/", "http://127.0.0.1/ü", "http://127.0.0.1/a b", "http:///x"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(PlanError):
        parse_target(url)


def test_a_target_names_itself_as_a_host_header_does() -> None:
    assert parse_target("http://127.0.0.1:80/x?y=1") == Target(
        "127.0.0.1", 80, "127.0.0.1", "/x?y=1"
    )
    assert parse_target("http://127.0.0.1/").authority == "127.0.0.1"
    assert parse_target("http://[::1]:81/").authority == "[::1]:81"
    assert parse_target("https://127.0.0.1/").url == "https://127.0.0.1/api/ip_query"


def test_durations() -> None:
    assert parse_duration("60s") == parse_duration("60") == parse_duration("1m") == 60
    assert parse_duration("500ms") == parse_duration("0.5") == 0.5
    for text in ("", "x", "-1s", "0", "1d", "1 s", "nan", "inf"):
        with pytest.raises(PlanError):
            parse_duration(text)


def test_mixes() -> None:
    assert parse_mix("get=8,post=2") == 0.2
    assert parse_mix("post=1") == 1
    assert parse_mix("get=1,get=1,post=2") == 0.5
    for text in ("", "get", "get=0", "put=1", "get=-1", "get=1.5", "get=1;post=1", "get=²"):
        with pytest.raises(PlanError):
            parse_mix(text)


def test_headers() -> None:
    assert parse_header("X-Ü: 1".replace("Ü", "U")) == ("X-U", "1")
    assert parse_header("Accept:  text/html ") == ("Accept", "text/html")
    for text in ("x", "a b: c", "a: b\r\nc: d", "Host: x", "content-length: 3", "é: 1"):
        with pytest.raises(PlanError):
            parse_header(text)


@pytest.mark.parametrize(
    "wrong",
    [{"connections": 0}, {"connections": 100_000}, {"processes": 0}, {"seconds": 0},
     {"seconds": 4000}, {"requests": 0}, {"requests": 10**10}, {"rate": 0}, {"rate": 1e9},
     {"ipv6_share": 2}, {"pipeline": 0}, {"timeout": 0}, {"processes": 3, "connections": 2},
     {"keep_alive": False, "pipeline": 2}, {"seconds": float("nan")}, {"seed": -1}],
)  # fmt: skip
def test_everything_is_bounded(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError):
        Plan(HERE, **wrong)  # type: ignore[arg-type] # that is what is tested


def test_processes_share_everything_a_run_has() -> None:
    plan = Plan(HERE, connections=10, processes=4, requests=13, rate=100, cores=(2, 3))
    parts = [plan.of_process(number) for number in range(4)]
    assert [part.connections for part in parts] == [3, 3, 2, 2]
    assert [part.requests for part in parts] == [4, 3, 3, 3]
    assert [part.rate for part in parts] == [25] * 4
    assert [part.cores for part in parts] == [(2,), (3,), (2,), (3,)]
    assert [part.number for part in parts] == [0, 1, 2, 3]


def test_a_plan_reaches_another_process_as_it_is() -> None:
    plan = Plan(HERE, rate=5, headers=(("A", "b"),), cores=(1,), expect="/x", keep_alive=False)
    assert decode(plan.encode()) == plan
