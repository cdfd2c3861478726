"""A small snapshot, of which tests of the HTTP side know what it answers."""

import atexit
import os
from functools import cache
from pathlib import Path

import numpy as np

from ipquery.data.answers import Answers, AnswerSteps, Owner, Place
from ipquery.data.ranges import KEY, to_key
from ipquery.data.snapshot import Snapshot
from ipquery.data.snapshot.encode import write_answers

PLACES = [
    Place(
        country="中国", country_code="CN", province="河南省", province_code="410000",
        city="商丘市", city_code="411400", continent_code="AS", subdivision_code="CN-HA",
        latitude=34.4, longitude=115.65, time_zone="Asia/Shanghai",
        country_from=0, province_from=0, city_from=1,
    ),
    Place(country="日本", country_code="JP", country_from=1),
]  # fmt: skip
OWNERS = [
    Owner(isp="联通", asn=4837, as_org='"Backbone", of\nChina', isp_from=0, asn_from=1),
]
ABOUT = {
    "sources": [
        {
            "name": name, "format": form, "date": date, "licence": licence, "attribution": by,
            "ranges": {"ipv4": 2, "ipv6": 1}, "records": 2,
        }
        for name, form, date, licence, by in (
            ("one", "xdb", "2022-06-01", "Apache-2.0", "one by someone"),
            ("other", "mmdb", None, None, None),
        )
    ],
    "answers": 2,
    "ranges": {"ipv4": 3, "ipv6": 1},
    "addresses": {"ipv4": 1 << 24, "ipv6": 1 << 120},
    "levels": {"country": {"ipv4": {"ranges": 3}, "ipv6": {"ranges": 1}}},
}  # fmt: skip


def _steps(version: int, *rows: tuple[int, int, int]) -> AnswerSteps:
    start, place, owner = zip(*rows, strict=True)
    return AnswerSteps(
        version,
        np.array([to_key(version, one) for one in start], KEY[version]),
        np.array(place, np.uint32),
        np.array(owner, np.uint32),
    )


def write_sample(path: Path) -> Path:
    """1.0.0.0/8 but its first address, and 2000::/8, have one record, 1.0.0.0 has another."""
    answers = Answers(
        PLACES,
        OWNERS,
        _steps(4, (0, 0, 0), (1 << 24, 2, 0), ((1 << 24) + 1, 1, 1), (2 << 24, 0, 0)),
        _steps(6, (0, 0, 0), (0x20 << 120, 1, 1), (0x21 << 120, 0, 0)),
    )
    with path.open("w+b") as file:
        write_answers(file, answers, ABOUT)
    return path


@cache
def sample() -> Snapshot:
    """The snapshot, open as long as the tests run."""
    path = write_sample(Path(f"/dev/shm/ipquery-sample-{os.getpid()}.ipq"))
    try:
        snapshot = Snapshot(path)
    finally:
        path.unlink()
    atexit.register(snapshot.close)
    return snapshot
