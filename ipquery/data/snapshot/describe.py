"""Describer: all that is known about an address, as ready JSON."""

from typing import TYPE_CHECKING

import attrs

from ipquery.address import to_text
from ipquery.data.snapshot.finder import network_length, network_text
from ipquery.special import kind_of, same_kind

if TYPE_CHECKING:
    from ipquery.data.snapshot.reader import Snapshot

_KEPT = 65536


@attrs.frozen
class _Step:
    """A range within which the network, or the kind, depends on the address."""

    first: int
    last: int
    members: bytes


class Describer:
    """Makes members of a JSON object, and keeps those of the ranges asked for last."""

    def __init__(self, snapshot: "Snapshot", kept: int = _KEPT) -> None:
        """
        :param kept: of how many ranges to keep the members, about 600 bytes each.
        """
        self._snapshot = snapshot
        self._kept = kept
        self._steps: dict[tuple[int, int], bytes | _Step | None] = {}
        self._records: dict[int, bytes] = {}

    def describe(self, version: int, number: int) -> bytes | None:
        """The members for an address, without braces; ``None`` if there is no record.

        They are those of :meth:`~ipquery.data.snapshot.Snapshot.members`, then ``sources``,
        an object with the name of the source of each known field, ``first`` and ``last`` of the
        matched range, ``network`` and ``kind``: what :class:`~ipquery.data.snapshot.Match`
        says, in JSON.
        """
        key = version, self._snapshot.step(version, number)
        try:
            found = self._steps[key]
        except KeyError:
            found = self._read(key, version, number)
        return found if found is None or isinstance(found, bytes) else _at(found, version, number)

    def _read(self, key: tuple[int, int], version: int, number: int) -> bytes | _Step | None:
        if len(self._steps) >= self._kept:
            self._steps.clear()
        answer, first, last = self._snapshot.locate(version, number)
        found: bytes | _Step | None = None
        if answer:
            ends = b'"first":"%b","last":"%b"' % (
                to_text(version, first).encode(),
                to_text(version, last).encode(),
            )
            step = _Step(first, last, b"%b,%b" % (self._record(answer), ends))
            length = network_length(version, first, first, last)
            whole = last - first == (1 << (32 if version == 4 else 128) - length) - 1
            # So it is for all addresses of the range, and for most ranges.
            one = whole and same_kind(version, first, last)
            found = _at(step, version, number) if one else step
        self._steps[key] = found
        return found

    def _record(self, answer: int) -> bytes:
        found = self._records.get(answer)
        if found is None:
            if len(self._records) >= self._kept:
                self._records.clear()
            snapshot = self._snapshot
            found = self._records[answer] = b'%b,"sources":{%b}' % (
                snapshot.members(answer),
                snapshot.source_members(answer),
            )
        return found


def _at(step: _Step, version: int, number: int) -> bytes:
    return b'%b,"network":"%b","kind":"%b"' % (
        step.members,
        network_text(version, number, step.first, step.last).encode(),
        kind_of(version, number).encode(),
    )
