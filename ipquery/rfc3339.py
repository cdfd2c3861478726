"""Times as RFC 3339 writes them, in UTC."""

import datetime


def timestamp(seconds: float, timespec: str = "seconds") -> str:
    """A time as in ``2026-11-29T08:00:00Z``.

    :param seconds: since the epoch.
    :param timespec: how finely it is told, as :meth:`datetime.datetime.isoformat` has it.
    """
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")
