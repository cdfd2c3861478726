"""Damaged database files by the thousand: each is refused in one line or answered rightly.

Run as a program it limits its own memory, so that a reader that asks for too much
fails: ``python -m tests.data.mutate FORMAT SEED COUNT``.
"""

import random
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ipquery.data.formats import FORMATS
from ipquery.data.ranges import RangeTable
from ipquery.data.record import FIELDS, DataError, Record
from tests.data.samples import samples

_MEMORY = 1 << 30
_SECONDS = 3600

_NAMED = {"province_code", "city_code"}
"""Fields that may hold what is worked out from another code in the file."""

_VALUES = (b"\0", b"\1", b"\2", b"\x7f", b"\xff", b"\t", b"|", b"-")


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with one to four kinds of damage."""
    whole = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = _place(len(whole), chance)
        match chance.randrange(6):
            case 0:
                whole[at : at + 1] = chance.randbytes(1)
            case 1:
                size = chance.choice((2, 3, 4, 8))
                whole[at : at + size] = chance.choice(_VALUES) * size
            case 2:
                whole[at : at + 4] = chance.randrange(2 * len(whole)).to_bytes(
                    4, chance.choice(("little", "big"))
                )
            case 3:
                other = _place(len(whole), chance)
                whole[at : at + 16] = whole[other : other + 16]
            case 4:
                del whole[at : at + chance.choice((1, 2, 7, 100))]
            case _:
                whole[at:at] = chance.randbytes(chance.choice((1, 4, 9)))
    return bytes(whole)


def _place(size: int, chance: random.Random) -> int:
    """Mostly near an end: half a megabyte of index lies between head and records."""
    if size == 0:
        return 0
    near = chance.randrange(min(size, chance.choice((40, 300, 3000))))
    return chance.choice((chance.randrange(size), near, size - 1 - near))


def check(name: str, content: bytes, folder: Path) -> bool:
    """Read a file; returns whether it was refused.

    :raises AssertionError: the refusal isn't one line about the file, or the table is
        none, or holds a text that the file doesn't.
    """
    path = folder / "hostile"
    path.write_bytes(content)
    try:
        table = FORMATS[name].read(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return True
    for ranges in (table.v4, table.v6):
        ranges.check("table")
        assert len(ranges.first) == len(ranges.last) == len(ranges.record)
        assert not len(ranges) or 0 <= ranges.record.min() <= ranges.record.max() < len(
            table.records
        )
    _check_texts(name, table, content)
    return False


def _check_texts(name: str, table: RangeTable, content: bytes) -> None:
    encodings = ("gb18030",) if name == "qqwry" else ("utf-8", "latin-1")
    for record in table.records:
        for field, text in _texts(record):
            if field == "country" and name == "qqwry" and text == "中国":
                continue  # not written out
            if field == "org" and name == "qqwry" and " " in text:
                continue  # of two texts
            assert any(_encoded(text, encoding) in content for encoding in encodings)


def _texts(record: Record) -> list[tuple[str, str]]:
    values = ((name, getattr(record, name)) for name in FIELDS if name not in _NAMED)
    return [
        (name, value) for name, value in values if isinstance(value, str) and "\ufffd" not in value
    ]


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "replace")


def run(name: str, seed: int, count: int) -> int:
    """Damage and read ``count`` files of a format; returns how many were refused."""
    chance = random.Random(seed)
    files = [content for known, content in samples(9).values() if known == name]
    with tempfile.TemporaryDirectory(prefix="ipquery-") as folder:
        return sum(
            check(name, mutated(chance.choice(files), chance), Path(folder)) for _ in range(count)
        )


def main(arguments: Sequence[str]) -> int:
    name, seed, count = arguments
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    refused = run(name, int(seed), int(count))
    print(f"{count} damaged {name} files: {refused} refused, the others answered")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
