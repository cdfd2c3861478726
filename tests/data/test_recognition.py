"""Each file is taken for what it is, and for nothing else."""

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipquery.data.formats import END_BYTES, FORMATS
from tests.data.samples import samples


def _taken_for(content: bytes) -> list[str]:
    """The formats whose content this could be."""
    head, tail = content[:END_BYTES], content[-END_BYTES:]
    return [name for name, known in FORMATS.items() if known.sniff(head, tail, len(content))]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 13, 50])
def test_a_file_is_of_one_format(count: int) -> None:
    for label, (name, content) in samples(count).items():
        assert (label, _taken_for(content)) == (label, [name])


@given(st.binary(max_size=3000))
@example(b"\xab\xcd\xefMaxMind.com")
def test_any_bytes_are_of_none(content: bytes) -> None:
    assert _taken_for(content) == []


def test_random_bytes_are_of_none() -> None:
    chance = random.Random(10)
    for size in (35, 100, 2000, 300_000):
        for _ in range(200 if size < 10_000 else 10):
            assert _taken_for(chance.randbytes(size)) == []


def test_small_numbers_are_of_none() -> None:
    # What headers are made of
    chance = random.Random(10)
    for _ in range(2000):
        numbers = [chance.choice((0, 1, 2, 7, 8, 35, 64, 1028, 2052, 65536)) for _ in range(600)]
        order = chance.choice("<>")
        assert _taken_for(struct.pack(f"{order}600I", *numbers)) == []


@pytest.mark.parametrize(
    "text",
    [
        "1.0.0.0,1.0.0.255,AU\n",
        "network,geoname_id\n1.0.0.0/24,2077456\n",
        '{"build": 1, "ip_version": 1}\n',
        "中国\t河南\t商丘\n",
        "<html><body>404</body></html>\n",
        "\n",
        "\0",
        "\xff",
    ],
)
def test_text_is_of_none(text: str) -> None:
    for times in (1, 100, 100_000):
        assert set(_taken_for(text.encode() * times)) <= {"csv"}
