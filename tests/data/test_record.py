"""A record, and the array it becomes."""

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.record import CONTRACT_FIELDS, UNKNOWN, Record

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
