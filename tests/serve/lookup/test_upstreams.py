"""Where Redis is, as the operator writes it."""

import pytest

from ipquery.serve.lookup.upstreams import (
    CacheSettings,
    FallbackSettings,
    RedisAddress,
    parse_redis,
)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("redis://h", RedisAddress((("h", 6379),)), "redis://h:6379"),
        ("redis://h:1/2", RedisAddress((("h", 1),), database=2), "redis://h:1"),
        ("redis://[::1]:1", RedisAddress((("::1", 1),)), "redis://[::1]:1"),
        ("rediss://h", RedisAddress((("h", 6379),), tls=True), "rediss://h:6379"),
        (
            "redis://us%40er:p%2Fw@h",
            RedisAddress((("h", 6379),), username="us@er", password="p/w"),
            "redis://h:6379",
        ),
        ("redis://:pw@h", RedisAddress((("h", 6379),), password="pw"), "redis://h:6379"),
        ("unix:/run/r.sock", RedisAddress(path="/run/r.sock"), "unix:/run/r.sock"),
        (
            "unix:///run/r.sock?db=3",
            RedisAddress(path="/run/r.sock", database=3),
            "unix:/run/r.sock",
        ),
        (
            "unix:/r.sock?db=3&password=p%2Fw",
            RedisAddress(path="/r.sock", database=3, password="p/w"),
            "unix:/r.sock",
        ),
        (
            "redis+sentinel://:pw@a,b:1/main/2",
            RedisAddress((("a", 26379), ("b", 1)), None, "main", 2, None, "pw"),
            "redis+sentinel://a:26379,b:1/main",
        ),
    ],
)
def test_forms(text: str, address: RedisAddress, shown: str) -> None:
    assert parse_redis(text) == address
    assert str(address) == shown


def test_secrets_are_not_shown() -> None:
    settings = [
        parse_redis("redis://:hidden@h"),
        CacheSettings("redis://:hidden@h"),
        FallbackSettings("http://a/{ip}", (("Authorization", "hidden"),)),
    ]
    assert "hidden" not in repr(settings)
