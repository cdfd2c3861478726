"""Texts on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.cli.text import padded, printable, rows, width, wrapped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("河南省 商丘市", "河南省 商丘市"),
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("a\nb\tc\x7f\x9b", r"a\nb\tc\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b", r"a\u2028b"),
        ("é", "é"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_controls_is_left(text: str) -> None:
    assert not [c for c in printable(text) if unicodedata.category(c)[0] == "C"]
    assert printable(printable(text)) == printable(text)


def test_chinese_takes_two_columns_and_marks_none() -> None:
    assert width("a河南") == 5
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1
    assert padded("河南", 6) == "河南  "
    assert padded("河南", 6, right=True) == "  河南"


@given(st.text("ab 河南"), st.integers(2, 12))
def test_lines_hold_all_and_are_no_wider_than_asked(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_end_between_words() -> None:
    assert wrapped("中国 河南省 Shangqiu", 11) == ["中国 河南省", "Shangqiu"]
    assert wrapped("a Shangqiuxx", 5) == ["a", "Shang", "qiuxx"]


def test_cells_of_a_row_are_wrapped_side_by_side() -> None:
    assert list(rows(("河南省", "one two", "x"), (4, 5, 3))) == ["河南  one    x", "省    two"]
