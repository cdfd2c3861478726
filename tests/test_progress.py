"""What a user sees of a build."""

import io

from ipquery.progress import reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STEPS = [("reading a", 0.0), ("merging", 0.7), ("writing", 0.85), ("done", 1.0)]


def _shown(stream: io.StringIO) -> str:
    report = reporter(stream)
    for what, done in STEPS:
        report(what, done)
    return stream.getvalue()


def test_a_terminal_has_a_bar_that_ends_with_a_line_end() -> None:
    shown = _shown(Terminal())
    for what, _ in STEPS:
        assert what in shown
    assert "100%" in shown
    assert shown.endswith("\n")
    assert shown.count("\n") == 1


def test_elsewhere_there_are_plain_lines() -> None:
    assert _shown(io.StringIO()).splitlines() == [
        "  0%  reading a",
        " 70%  merging",
        " 85%  writing",
        "100%  done",
    ]
