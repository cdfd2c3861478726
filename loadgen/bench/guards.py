"""What guards cost: requests that pass one, beside the same kind of request where there is none.

A key is checked, or a token taken, for each request on the fast way. Rows of one kind of
connection are compared with the first of that kind, in the same rounds.
"""

import random
from collections.abc import Iterable, Sequence

from loadgen.bench import requests
from loadgen.bench.beside import Compared
from loadgen.bench.requests import Addresses
from loadgen.peers.servers import BENCH_KEYS, IPQUERY, KEYED, LIMITED

MOST_CPU = 1.1
"""At most this ratio of processor time for a request, guarded to not."""


def _bearer(ips: Addresses) -> Iterable[bytes]:
    return requests.with_fields(b"Authorization: Bearer %s\r\n" % BENCH_KEYS[0])(ips)


def _api_key(ips: Addresses) -> Iterable[bytes]:
    return requests.with_fields(b"X-Api-Key: %s\r\n" % BENCH_KEYS[0])(ips)


def _many_keys(ips: Addresses) -> Iterable[bytes]:
    chance = random.Random(3)  # noqa: S311 # the same again is what is wanted
    return (requests.get(ip, b"X-Api-Key: %s\r\n" % chance.choice(BENCH_KEYS)) for ip in ips.v4)


_PLAIN = "guard: none"
_FIELD = f"{_PLAIN}, X-Api-Key that differs"
_ONE_SHOT = f"{_PLAIN}, once"

ROWS: Sequence[Compared] = (
    Compared(_PLAIN, requests.plain, IPQUERY),
    Compared("guard: key, Authorization", _bearer, KEYED, False, _PLAIN, MOST_CPU),
    Compared("guard: key, X-Api-Key", _api_key, KEYED, False, _PLAIN, MOST_CPU),
    Compared("guard: token bucket", requests.plain, LIMITED, False, _PLAIN, MOST_CPU),
    # As a proxy sends them that keeps its connections, whoever it asks for.
    Compared(_FIELD, _many_keys, IPQUERY),
    Compared("guard: keys that differ", _many_keys, KEYED, False, _FIELD, MOST_CPU),
    Compared(_ONE_SHOT, requests.plain, IPQUERY, True),
    Compared("guard: key, once", _api_key, KEYED, True, _ONE_SHOT, MOST_CPU),
    Compared("guard: keys that differ, once", _many_keys, KEYED, True, _ONE_SHOT, MOST_CPU),
    Compared("guard: token bucket, once", requests.plain, LIMITED, True, _ONE_SHOT, MOST_CPU),
)
