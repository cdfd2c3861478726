"""The compiled file: every answer already serialised, see :mod:`.layout`."""

from ipquery.data.snapshot.describe import Describer
from ipquery.data.snapshot.layout import LAYOUT_VERSION, MAGIC, is_snapshot, write
from ipquery.data.snapshot.match import Match
from ipquery.data.snapshot.reader import Snapshot, open_snapshot

__all__ = [
    "LAYOUT_VERSION",
    "MAGIC",
    "Describer",
    "Match",
    "Snapshot",
    "is_snapshot",
    "open_snapshot",
    "write",
]
