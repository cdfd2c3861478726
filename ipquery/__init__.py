"""Where an IP address is, and whose it is."""

from ipquery.data.record import DataError, Record
from ipquery.data.snapshot import Match, Snapshot, open_snapshot

__all__ = ["DataError", "Match", "Record", "Snapshot", "open_snapshot"]
