"""Answers in a snapshot of layout 1, whose records have the contract's eight fields only."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from ipquery.data import snapshot
from ipquery.data.answers import NOTHING, Answers, Owner, Place
from ipquery.data.blend.overlay import sorted_unique
from ipquery.data.ranges import to_halves
from ipquery.data.record import UNKNOWN, Record


def write(file: BinaryIO, answers: Answers, about: Mapping[str, Any]) -> None:
    """Write the snapshot of these answers."""
    steps = (answers.v4, answers.v6)
    pairs = [s.place.astype(np.uint64) << np.uint64(32) | s.owner for s in steps]
    different = sorted_unique(np.concatenate(pairs))
    numbers: dict[Record, int] = {UNKNOWN: NOTHING}
    places, owners = [Place(), *answers.places], [Owner(), *answers.owners]
    number_of = np.array(
        [
            numbers.setdefault(_joined(places[pair >> 32], owners[pair & 2**32 - 1]), len(numbers))
            for pair in different.tolist()
        ]
    )
    v4, v6 = (number_of[np.searchsorted(different, pair)] for pair in pairs)
    texts = [record.to_answer() for record in numbers][1:]
    halves = to_halves(answers.v6.start)
    number = np.uint16 if len(texts) < 2**16 else np.uint32
    slots = np.arange(65537, dtype=np.uint64) << np.uint64(16)
    columns = {
        "v4.index": np.searchsorted(answers.v4.start, slots).astype(np.uint32),
        "v4.first.low": answers.v4.start.astype(np.uint16),
        "v4.answer": np.append(0, v4).astype(number),
        "v6.first.high": halves[:, 0],
        "v6.first.low": halves[:, 1],
        "v6.answer": np.append(0, v6).astype(number),
        "answer.end": np.cumsum([0, *map(len, texts)]).astype(np.uint32),
    }
    views: dict[str, bytes | memoryview] = {
        name: np.ascontiguousarray(column).data for name, column in columns.items()
    }
    snapshot.write(file, views | {"answer.text": b"".join(texts)}, about)


def _joined(place: Place, owner: Owner) -> Record:
    return Record(
        place.country,
        place.country_code,
        place.province,
        place.province_code,
        place.city,
        place.city_code,
        owner.org,
        owner.isp,
    )
