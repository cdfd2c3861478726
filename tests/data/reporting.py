"""Logs to report of, and a database whose names would do harm on a page."""

import datetime
from collections.abc import Iterable
from pathlib import Path

from ipquery.data.record import Record
from tests.data.builder import write_snapshot

HOSTILE = '<script>alert("x")</script>\x1b[2J'

_FIRST = datetime.datetime(2026, 11, 29, 9, tzinfo=datetime.UTC)
_BLOCK = 1 << 24


def lines(addresses: Iterable[str]) -> str:
    """A log in the combined format: a request each twelve seconds."""
    return "".join(
        f"{address} - - [{_FIRST + k * datetime.timedelta(seconds=12):%d/%b/%Y:%H:%M:%S %z}] "
        '"GET / HTTP/1.1" 200 5 "-" "x"\n'
        for k, address in enumerate(addresses)
    )


def write_hostile(path: Path) -> Path:
    """A snapshot: 1.0.0.0/8 is in Henan, 2.0.0.0/8 has hostile names, 3.0.0.0/8 is in the US."""
    records = [
        Record(
            country="中国",
            country_code="CN",
            province="河南省",
            city="商丘市",
            isp="联通",
            asn=4837,
            as_org="CHINA UNICOM",
        ),
        Record(country=HOSTILE, province=HOSTILE, isp=HOSTILE, asn=1, as_org=HOSTILE),
        Record(country_code="US"),
    ]
    v4 = [((k + 1) * _BLOCK, (k + 2) * _BLOCK - 1, k) for k in range(3)]
    return write_snapshot(path, v4, [], records)
