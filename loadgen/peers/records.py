"""The same database for every peer that is written in Python."""

import os

from ipquery import Snapshot, open_snapshot


def open_database() -> Snapshot:
    """The snapshot that the benchmark names in its environment."""
    return open_snapshot(os.environ["IPQUERY_BENCH_SNAPSHOT"])


def answer(db: Snapshot, ip: str) -> list[str] | None:
    """The contract's array, as a Python list."""
    record = db.find(ip)
    if record is None:
        return None
    return [
        record.country or "",
        record.country_code or "None",
        record.province or "",
        record.province_code or "None",
        record.city or "",
        record.city_code or "None",
        record.org or "",
        record.isp or "",
    ]
