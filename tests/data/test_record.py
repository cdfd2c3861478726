"""A record, and the array it becomes."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.record import CONTRACT_FIELDS, UNKNOWN, Record, is_answer

_texts = st.text(st.characters(exclude_categories=["Cs"])) | st.none()
records = st.builds(Record, **dict.fromkeys(CONTRACT_FIELDS, _texts)).filter(
    # As a code "None" is how the array says: not known.
    lambda record: "None" not in (record.country_code, record.province_code, record.city_code)
)


def test_the_array_has_the_contracts_order_and_words_for_unknown() -> None:
    record = Record(country="中国", country_code="CN", city="商丘市", isp="联通")
    assert json.loads(record.to_answer()) == [
        "中国", "CN", "", "None", "商丘市", "None", "", "联通",
    ]  # fmt: skip


def test_chinese_is_sent_as_utf_8() -> None:
    assert "中国".encode() in Record(country="中国").to_answer()


def test_an_empty_text_is_an_unknown_one() -> None:
    texts: dict[str, Any] = dict.fromkeys(CONTRACT_FIELDS, "")
    assert Record(**texts) == UNKNOWN


@given(records)
def test_the_array_reads_back(record: Record) -> None:
    answer = record.to_answer()
    assert Record.from_answer(answer) == record
    values = json.loads(answer)
    assert len(values) == 8
    assert all(isinstance(value, str) for value in values)
    assert attrs.astuple(Record.from_answer(answer))[:8] == tuple(
        None if value == "" or (value == "None" and name.endswith("_code")) else value
        for name, value in zip(CONTRACT_FIELDS, values, strict=True)
    )


@given(records)
def test_what_it_writes_is_an_answer(record: Record) -> None:
    assert is_answer(record.to_answer())


_ANSWER = Record(country="中国", country_code="CN", org='"\\\n').to_answer()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"8",
        b'["a","b"]',
        b"[1,2,3,4,5,6,7,8]",
        b'[null,"CN","","None","","None","",""]',
        json.dumps(dict.fromkeys("abcdefgh")).encode(),
        _ANSWER.decode().encode("utf-16"),
        _ANSWER.decode().encode("utf-16-le"),
        _ANSWER.decode().encode("utf-32"),
        _ANSWER.decode().encode("utf-8-sig"),
        _ANSWER.decode().encode("gb18030"),
        b'["\\ud800","CN","","None","","None","",""]',
        b'["\xed\xa0\x80","CN","","None","","None","",""]',
        b'["\\u4e2d","CN","","None","","None","",""]',
        b'["x","CN","","","","None","",""]',
        _ANSWER.replace(b",", b", "),
        _ANSWER + b"\n",
        b" " + _ANSWER,
        _ANSWER + _ANSWER,
        b'["\x00","CN","","None","","None","",""]',
        b'["' * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_it_would_write_otherwise_is_none(data: bytes) -> None:
    assert not is_answer(data)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_told_without_an_error(data: bytes) -> None:
    assert is_answer(data) is False


@given(records, st.data())
def test_one_byte_more_or_less_or_another_is_noticed(record: Record, data: st.DataObject) -> None:
    """Or it is another record's answer, written the same way."""
    answer = bytearray(record.to_answer())
    at = data.draw(st.integers(0, len(answer) - 1))
    answer[at : at + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    changed = bytes(answer)
    if is_answer(changed):
        assert Record.from_answer(changed).to_answer() == changed
        changed.decode("utf-8")
