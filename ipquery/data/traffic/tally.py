"""Tally: the counts of a run, which take the same memory however long it is."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipquery.data.columns.numbers import NO_RECORD, NOT_AN_ADDRESS
from ipquery.data.ranges import Column
from ipquery.data.snapshot.reader import Snapshot
from ipquery.data.traffic.answers import Answers
from ipquery.data.traffic.kinds import Kinds
from ipquery.data.traffic.timeline import Timeline
from ipquery.data.traffic.times import NO_TIME
from ipquery.rfc3339 import timestamp

_COUNTRIES = 5
"""Those of which it is told when their requests came."""

_COUNTRY = ("country_code", "country")
_NETWORK = ("asn", "as_org")

Key = tuple[Any, ...]


class Tally:
    """Counts requests by answer, by kind of their address, and by country and time."""

    def __init__(self, snapshot: Snapshot, timed: bool) -> None:
        """
        :param timed: whether requests have times.
        :raises DataError: the snapshot contradicts itself.
        """
        self._index = snapshot.index()
        self._countries, self._country = self._groups_of_countries()
        # By number of the answer; what is none has a place at the end, as in the index's values.
        self._counts = np.zeros(len(self._country), np.int64)
        self._kinds = Kinds()
        self._kind_counts = self._kinds.none
        self._timeline = Timeline(len(self._countries)) if timed else None
        self._first: int | None = None
        self._last: int | None = None
        self._timeless = 0
        self.rows = 0
        self._odd = 0

    def _groups_of_countries(self) -> tuple[Sequence[Key], Column]:
        """Countries that occur, by code, or by name if they have none, first what isn't known; and
        by answer, the number of its country."""
        said = self._index.values(["country_code", "country"])
        codes, names = said["country_code"], said["country"]
        keys = np.where(
            codes.by_answer > 0,
            codes.by_answer,
            np.where(names.by_answer > 0, names.by_answer + len(codes.values), 0),
        )
        values = [
            *((code, None) for code in codes.values),
            *((None, name) for name in names.values),
        ]
        # None is there always: of what is no answer.
        found, numbers = np.unique(keys, return_inverse=True)
        return [values[key] for key in found.tolist()], numbers

    def add(self, answers: Answers) -> None:
        """Count some rows."""
        numbers = answers.numbers
        self.rows += len(numbers)
        self._odd += answers.odd
        self._kind_counts += answers.kinds
        np.add.at(self._counts, numbers, 1)
        if self._timeline is None or answers.seconds is None:
            return
        are_addresses = numbers != NOT_AN_ADDRESS
        timed = are_addresses & (answers.seconds != NO_TIME)
        self._timeless += int(np.count_nonzero(are_addresses)) - int(np.count_nonzero(timed))
        seconds = answers.seconds[timed]
        if len(seconds):
            first, last = int(seconds.min()), int(seconds.max())
            self._first = first if self._first is None else min(self._first, first)
            self._last = last if self._last is None else max(self._last, last)
        self._timeline.add(seconds, self._country.take(numbers[timed]))

    def told(self, top: int) -> dict[str, Any]:
        """What has been counted, as ``ipquery report --json`` has it.

        :param top: how many of each to name.
        """
        bad = int(self._counts[NOT_AN_ADDRESS])
        countries = _one_name_each(self._by(_COUNTRY))
        provinces = _one_name_each(self._by((*_COUNTRY, "province")))
        cities = _one_name_each(self._by((*_COUNTRY, "province", "city")))
        networks = _one_name_each(self._by(_NETWORK))
        return {
            "rows": self.rows,
            "addresses": self.rows - bad,
            "no_address": bad,
            "no_record": int(self._counts[NO_RECORD]),
            "other_form": self._odd,
            "kinds": [
                {"kind": kind, "requests": count}
                for kind, count in self._kinds.ranked(self._kind_counts)
            ],
            "countries": _ranked(countries, _COUNTRY, 0, top),
            "provinces": _ranked(provinces, (*_COUNTRY, "province"), 2, top),
            "cities": _ranked(cities, (*_COUNTRY, "province", "city"), 3, top),
            "providers": _ranked(self._by_provider(), ("provider",), 0, top),
            "networks": _ranked(networks, _NETWORK, 0, top),
            "time": None if self._timeline is None else self._time(self._timeline, countries),
        }

    def _by(self, fields: Sequence[str]) -> Counter[Key]:
        """Counts of addresses by what is said in these fields."""
        counts = self._counts.copy()
        counts[NOT_AN_ADDRESS] = 0
        answers = np.flatnonzero(counts)
        keys = np.zeros(len(answers), np.int64)
        first = np.empty(0, np.int64)
        said = self._index.values(fields)
        for field in fields:
            # Made small again each time: the product of how many values fields have may be
            # larger than any integer there.
            keys = keys * len(said[field].values) + said[field].by_answer[answers]
            _, first, keys = np.unique(keys, return_index=True, return_inverse=True)
        sums = np.zeros(len(first), np.int64)
        np.add.at(sums, keys, counts[answers])
        found: Counter[Key] = Counter()
        for answer, count in zip(answers[first].tolist(), sums.tolist(), strict=True):
            key = tuple(said[field].values[said[field].by_answer[answer]] for field in fields)
            found[key] += count
        return found

    def _by_provider(self) -> Counter[Key]:
        """By provider, or by organisation where that isn't told."""
        found: Counter[Key] = Counter()
        for (isp, org), count in self._by(("isp", "org")).items():
            found[(isp or org,)] += count
        return found

    def _time(self, timeline: Timeline, countries: Counter[Key]) -> dict[str, Any]:
        sums = timeline.counts.sum(axis=0)
        # 0 is that of which no country is known.
        names = {(code, None if code else name): (code, name) for code, name in countries}
        groups = [group for group in range(1, len(sums)) if sums[group]]
        groups.sort(key=lambda group: (-sums[group], _texts(names[self._countries[group]])))
        chosen = groups[:_COUNTRIES]
        series = []
        for group in chosen:
            code, name = names[self._countries[group]]
            requests = timeline.counts[:, group].tolist()
            series.append({"country_code": code, "country": name, "requests": requests})
        unknown = timeline.counts[:, 0]
        total = timeline.counts.sum(axis=1)
        return {
            "no_time": self._timeless,
            "first": None if self._first is None else timestamp(self._first),
            "last": None if self._last is None else timestamp(self._last),
            "interval_seconds": timeline.width,
            "starts": [*map(timestamp, timeline.starts)],
            "requests": total.tolist(),
            "countries": series,
            "others": (total - unknown - timeline.counts[:, chosen].sum(axis=1)).tolist(),
            "unknown": unknown.tolist(),
        }


def _texts(key: Key) -> list[str]:
    """What keys are in order by."""
    return [str(part or "") for part in key]


def _one_name_each(found: Counter[Key]) -> Counter[Key]:
    """With one name for each code, the one that most have: sources may have several, or none.

    :param found: by code (or number), name and more.
    """
    by_name: Counter[tuple[Any, str]] = Counter()
    for (code, name, *_), count in found.items():
        if code is not None and name is not None:
            by_name[code, name] += count
    names: dict[Any, str] = {}
    for (code, name), _ in sorted(by_name.items(), key=lambda one: (-one[1], one[0])):
        names.setdefault(code, name)
    made: Counter[Key] = Counter()
    for (code, name, *rest), count in found.items():
        made[(code, name if code is None else names.get(code), *rest)] += count
    return made


def _ranked(found: Counter[Key], names: Sequence[str], told: int, top: int) -> dict[str, Any]:
    """The most frequent ones.

    :param names: of the parts of keys.
    :param told: the number of the first part of which one must be known.
    """
    known = {
        key: count for key, count in found.items() if any(part is not None for part in key[told:])
    }
    order = sorted(known, key=lambda key: (-known[key], _texts(key)))
    first = order[:top]
    return {
        "different": len(known),
        "top": [{**dict(zip(names, key, strict=True)), "requests": known[key]} for key in first],
        "others": sum(known.values()) - sum(known[key] for key in first),
        "unknown": sum(found.values()) - sum(known.values()),
    }
