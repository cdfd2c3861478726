"""Found: what is known about a column of addresses."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.address import shorten
from ipquery.data.columns.index import Index
from ipquery.data.columns.numbers import NO_RECORD, NOT_AN_ADDRESS
from ipquery.data.record import FIELDS, DataError


@attrs.frozen(eq=False)
class Found:
    """``numbers`` are those of the records of addresses, in the order in which these were given:
    what :meth:`ipquery.data.snapshot.Snapshot.record` takes. :data:`NO_RECORD` (-1) is an address
    of which nothing is known, and :data:`NOT_AN_ADDRESS` (-2) what is no address.
    """

    numbers: NDArray[np.int32]
    _index: Index

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which of them have a record."""
        known: NDArray[np.bool_] = self.numbers > NO_RECORD
        return known

    @property
    def invalid(self) -> NDArray[np.bool_]:
        """Which of them are no addresses."""
        invalid: NDArray[np.bool_] = self.numbers == NOT_AN_ADDRESS
        return invalid

    def codes(self, field: str) -> tuple[NDArray[np.int32], Sequence[Any]]:
        """What is said in a field: the values that occur in the snapshot, ``None`` first, and for
        each address the number of its value among them.

        :raises DataError: there is no such field, or the snapshot contradicts itself.
        """
        check_fields([field])
        values = self._index.values([field])[field]
        return values.by_answer.take(self.numbers), values.values

    def table(self, fields: Sequence[str] = FIELDS) -> Any:
        """A ``pyarrow.Table`` with a row for each address: dictionary-encoded columns, null where
        nothing is known.

        :param fields: names of fields of :class:`~ipquery.data.record.Record`.
        :raises DataError: there is no such field, pyarrow isn't installed, or the snapshot
            contradicts itself.
        """
        check_fields(fields)
        try:
            import pyarrow
        except ImportError:
            raise DataError("tables need pyarrow: pip install 'ipquery[bulk]'") from None
        columns = {}
        for field, said in self._index.values(fields).items():
            codes = said.by_answer.take(self.numbers)
            # What isn't known, the first of the values, is not in the dictionary.
            columns[field] = pyarrow.DictionaryArray.from_arrays(
                pyarrow.array(codes - 1, mask=codes == 0), self._index.dictionary(field, pyarrow)
            )
        return pyarrow.table(columns)


def check_fields(fields: Sequence[str], more: Sequence[str] = ()) -> None:
    """
    :param more: what may be named beside.
    :raises DataError: one isn't a field of :class:`~ipquery.data.record.Record`, or there is none.
    """
    there = (*FIELDS, *more)
    if not fields:
        raise DataError(f"no field was named; there are {', '.join(there)}")
    for field in fields:
        if field not in there:
            raise DataError(f"{shorten(field)} is no field; there are {', '.join(there)}")
