"""Index: looks up columns of addresses in an open snapshot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from ipquery.data.columns.batch import Batch
from ipquery.data.columns.given import batches
from ipquery.data.columns.numbers import NOT_AN_ADDRESS
from ipquery.data.columns.v4 import V4Index
from ipquery.data.columns.v6 import V6Index
from ipquery.data.ranges import Column
from ipquery.data.record import DataError
from ipquery.data.snapshot.values import STEP_COLUMNS, read_values

if TYPE_CHECKING:
    from ipquery.data.snapshot.reader import Snapshot

_MOST_ANSWERS = 2**31

# The types of what isn't text.
_NUMBERS = {
    "latitude": "float64",
    "longitude": "float64",
    "accuracy_radius": "uint16",
    "asn": "uint32",
}


@attrs.frozen(eq=False)
class Values:
    """What answers say in a field: ``values`` are those that occur, ``None`` first, and
    ``by_answer`` has the number of each answer's. Behind these stand two more, 0, for what isn't
    an answer: its numbers are negative, which numpy counts from the end."""

    values: Sequence[Any]
    by_answer: Column


class Index:
    """What is made of a snapshot on first use, and kept until that is closed.

    It looks into the mapped file, which can't be unmapped as long as something does.
    """

    def __init__(self, snapshot: "Snapshot", damaged: DataError) -> None:
        """
        :param damaged: what to raise if the snapshot contradicts itself.
        :raises DataError: it does.
        """
        self._snapshot, self._damaged = snapshot, damaged
        self._values: dict[str, Values] = {}
        self._dictionaries: dict[str, Any] = {}
        self._v4: V4Index | None = None
        self._v6: V6Index | None = None
        column = {name: np.asarray(snapshot.column(name)) for name in STEP_COLUMNS}
        try:
            self._v4, self._v6 = _indexes(column, len(snapshot.column("pair.place")))
        except ValueError:
            column.clear()
        # Not where it is caught: an error keeps the one before it, and that what it came from
        # looked at, so that the file couldn't be unmapped.
        if self._v6 is None:
            raise damaged

    def find(self, addresses: Any) -> Column:
        """See :meth:`ipquery.data.snapshot.Snapshot.find_many`; the numbers alone."""
        return self.find_batches(batches(addresses))

    def find_batches(self, given: Iterable[Batch]) -> Column:
        """The same of addresses in batches."""
        return np.concatenate([np.empty(0, np.int32), *map(self.find_batch, given)])

    def find_batch(self, batch: Batch) -> Column:
        """The numbers of the answers of a batch.

        :raises ValueError: the snapshot is closed.
        """
        if self._v4 is None or self._v6 is None:
            raise ValueError("the snapshot is closed")
        v4 = self._v4.find(batch.v4)
        if batch.v4_at is None:
            return v4
        numbers = np.full(batch.count, NOT_AN_ADDRESS, np.int32)
        numbers[batch.v4_at] = v4
        if len(batch.v6_at):
            numbers[batch.v6_at] = self._v6.find(batch.high, batch.low)
        return numbers

    def values(self, fields: Sequence[str]) -> Mapping[str, Values]:
        """What answers say in these fields; read when it is first asked for.

        :raises DataError: the snapshot contradicts itself.
        """
        missing = [field for field in fields if field not in self._values]
        if missing:
            try:
                values, by_answer = read_values(self._snapshot, missing)
            except (IndexError, ValueError, TypeError, AttributeError):
                raise self._damaged from None
            for field in missing:
                padded = np.append(by_answer[field], (0, 0)).astype(np.int32)
                self._values[field] = Values(values[field], padded)
        return {field: self._values[field] for field in fields}

    def dictionary(self, field: str, arrow: Any) -> Any:
        """The values of a field but ``None``, as an Arrow array of pyarrow, which is ``arrow``."""
        if field not in self._dictionaries:
            kind = arrow.type_for_alias(_NUMBERS.get(field, "string"))
            self._dictionaries[field] = arrow.array(self.values([field])[field].values[1:], kind)
        return self._dictionaries[field]

    def close(self) -> None:
        """Let go of the file."""
        self._v4 = self._v6 = None


def _indexes(column: Mapping[str, Column], answers: int) -> tuple[V4Index, V6Index]:
    """
    :param answers: how many there are, with the one that says nothing.
    :raises ValueError: the columns contradict each other.
    """
    for version in (4, 6):
        if column[f"v{version}.answer"].max() >= min(answers, _MOST_ANSWERS):
            raise ValueError("an answer that there isn't")
    return (
        V4Index(column["v4.first"], column["v4.answer"]),
        V6Index(column["v6.first.high"], column["v6.first.low"], column["v6.answer"]),
    )
