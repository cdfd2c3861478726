"""Resolver: from an address to its answer."""

from typing import Protocol

from ipquery.address import parse


class AnswerSource(Protocol):
    """What a resolver needs of a snapshot."""

    def answer_number(self, version: int, number: int) -> int:
        """The number of an address's answer, 0 where there is no record."""

    def answer(self, number: int) -> bytes:
        """The contract's JSON array with that number."""


class Resolver:
    """Answers from the snapshot that is current."""

    def __init__(self, snapshot: AnswerSource) -> None:
        self.snapshot = snapshot

    def resolve(self, ip: str) -> bytes | None:
        """The contract's JSON array for an address, ``None`` if there is no record.

        :raises ValueError: ``ip`` is not an address.
        """
        number = self.snapshot.answer_number(*parse(ip))
        return self.snapshot.answer(number) if number else None
