"""``/v1/databases``: what answers come from."""

import datetime
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipquery.data.snapshot import Snapshot
from ipquery.metrics import BUILD, LOADED, SNAPSHOT, SOURCE_DATE, UPDATE_TRIED
from ipquery.rfc3339 import timestamp
from ipquery.serve.api.negotiation import is_unchanged
from ipquery.serve.http.counts import Entry
from ipquery.serve.http.reply import Reply

PATH = "/v1/databases"

_VERSION = importlib.metadata.version("ipquery")


def reply(
    snapshot: Snapshot,
    loaded: float,
    now: float,
    entries: Iterable[Entry] | None,
    none_match: str | None,
) -> Reply:
    """The answer.

    Ages and the time of loading differ from day to day and from process to process, so
    that caches ask each time.

    :param entries: what has been counted, ``None`` if nobody says.
    :param none_match: the value of If-None-Match.
    """
    told = databases(snapshot, loaded, now, None if entries is None else updates(entries))
    body = json.dumps(told, ensure_ascii=False).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_unchanged(none_match, etag):
        return Reply(304, b"", headers, None)
    return Reply(200, body, headers)


def databases(
    snapshot: Snapshot, loaded: float, now: float, tried: Sequence[Mapping[str, str]] | None
) -> dict[str, Any]:
    """The databases of a snapshot, and what they come to.

    When it was built isn't known: the same databases give the same bytes on every node,
    whenever that is, so no time is in them.

    :param loaded: when this process began to answer from it, in seconds since the epoch.
    :param now: likewise.
    :param tried: how the daemon has looked for newer ones, ``None`` if that isn't known.
    """
    about = snapshot.about
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    return {
        "snapshot": snapshot.identity,
        "loaded": timestamp(loaded),
        "sources": [_source(one, today) for one in about["sources"]],
        "counts": {name: about.get(name) for name in _COUNTS},
        # By level, and of each by version.
        "coverage": about.get("levels"),
        "updates": tried,
    }


def updates(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """When the daemon looked for newer databases last, by each recipe, and how that ended."""
    tried = []
    for name, labels, value in entries:
        if name == UPDATE_TRIED.name and not isinstance(value, list):
            recipe, outcome = labels
            tried.append({"recipe": recipe, "tried": timestamp(value), "outcome": outcome})
    return sorted(tried, key=lambda one: one["recipe"])


def figures(snapshot: Snapshot, loaded: float) -> list[Entry]:
    """The same for Prometheus: what answers come from, and of when it is."""
    dates: dict[str, float] = {}
    for source in snapshot.about["sources"]:
        if source.get("date"):
            date = datetime.datetime.fromisoformat(source["date"])
            dates[source["name"]] = date.replace(tzinfo=datetime.UTC).timestamp()
    return [
        (SNAPSHOT.name, (snapshot.identity,), 1),
        (LOADED.name, (), loaded),
        (BUILD.name, (_VERSION,), 1),
        *((SOURCE_DATE.name, (name,), date) for name, date in dates.items()),
    ]


_COUNTS = ("answers", "places", "owners", "ranges", "addresses")


def _source(source: Mapping[str, Any], today: datetime.date) -> dict[str, Any]:
    date = source.get("date")
    # None for a day that is still to come, as a wrong clock makes it.
    age = max((today - datetime.date.fromisoformat(date)).days, 0) if date else None
    return {
        "name": source["name"],
        "format": source.get("format"),
        "date": date,
        "age_days": age,
        "licence": source.get("licence"),
        "attribution": source.get("attribution"),
        "ranges": source.get("ranges"),
        "records": source.get("records"),
    }
