"""What pages of commands have in common: the frame, texts, tables and drawings.

A page is one file that needs nothing else, and fits a phone. Whatever comes out of a database is
escaped, there is no script, and the page may load nothing: what is in a file that somebody sent
can't reach beyond it.
"""

import re
from collections.abc import Sequence
from html import escape

from ipquery.cli.text import printable

# Told apart on white and on black, and by those who don't see red and green apart
# (Okabe and Ito's colours, but for black and yellow).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
svg { width: 100%; max-width: 34rem; height: auto; display: block; font-size: 12px; }
svg text { fill: currentColor; } svg .grid { stroke: currentColor; opacity: .2; }
svg polyline { fill: none; stroke-width: 2; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { text-align: right; padding: .15rem .2rem; border-bottom: 1px solid #8884;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.sources { padding: 0; list-style: none; } .sources li { margin: .5rem 0; }
.key { display: inline-block; min-width: 1.3rem; text-align: center; color: #fff;
  border-radius: .2rem; margin-right: .4rem; font-weight: bold; }
.cases { padding: 0; list-style: none; } .cases li { margin: .7rem 0; }
.cases p { margin: 0; } .small { font-size: .85rem; opacity: .8; }
summary { cursor: pointer; margin: .8rem 0 .2rem; }
"""

WIDTH = 340
"""Pixels of a phone that a drawing takes: its texts keep their size there."""


def framed(title: str, body: str, style: str = "") -> str:
    """The page.

    :param body: HTML.
    :param style: rules beside those of all pages.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escaped(text: object) -> str:
    """Any text, as HTML."""
    return escape(printable(str(text)))


def colour_of(number: int) -> str:
    """The colour of one of several."""
    return COLOURS[number % len(COLOURS)]


_LINK = re.compile(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._~/-]*)?")


def linked(text: str) -> str:
    """The text, its addresses as links: publishers ask for them."""
    parts = []
    end = 0
    for match in _LINK.finditer(text):
        address = match[0].rstrip(".")
        parts.append(escaped(text[end : match.start()]))
        parts.append(f'<a href="{address}" rel="noreferrer">{address}</a>')
        end = match.start() + len(address)
    return "".join([*parts, escaped(text[end:])])


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are escaped already; the first row is its head."""
    head, *rest = rows
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rest)
    return f"<table>{''.join(lines)}</table>"


def swatch(colour: str) -> str:
    """A field of a colour, for legends."""
    return f'<span class="key" style="background:{colour}">&nbsp;</span>'


def svg(parts: Sequence[str], height: int, title: str) -> str:
    """A drawing of :data:`WIDTH`; ``title`` is what those hear who don't see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def label(x: float, y: float, text: str, anchor: str = "start") -> str:
    """A text in a drawing."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'
