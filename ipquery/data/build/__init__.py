"""Sources to snapshot, in a child process, kept in a cache by content.

The process that asks never parses a database itself: what is in a file may be
wrong or hostile, so :mod:`ipquery.data.build.child` and :mod:`ipquery.data.build.explainer`
do it, in a child with limits on memory and time.
"""

from ipquery.data.build.cache_folder import default_cache
from ipquery.data.build.decisions import Withheld, accept, note_served, roll_back
from ipquery.data.build.elsewhere import Elsewhere
from ipquery.data.build.job import (
    Built,
    Job,
    Limits,
    ListPaths,
    Order,
    Report,
    file_digest,
    order_command,
)
from ipquery.data.build.parent import build, compare, explain, recognise, try_reading
from ipquery.data.build.store import (
    Chosen,
    choose_snapshot,
    ensure_snapshot,
    hold,
    served_snapshot,
)

__all__ = [
    "Built",
    "Chosen",
    "Elsewhere",
    "Job",
    "Limits",
    "ListPaths",
    "Order",
    "Report",
    "Withheld",
    "accept",
    "build",
    "choose_snapshot",
    "compare",
    "default_cache",
    "ensure_snapshot",
    "explain",
    "file_digest",
    "hold",
    "note_served",
    "order_command",
    "recognise",
    "roll_back",
    "served_snapshot",
    "try_reading",
]
