"""Where an IP address is, and whose it is."""

from ipquery.data.record import DataError, Record
from ipquery.data.snapshot import Snapshot, open_snapshot

__all__ = ["DataError", "Record", "Snapshot", "open_snapshot"]
