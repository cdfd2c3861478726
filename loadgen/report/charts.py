"""Charts as SVG, without any script: lines over an axis, and bars."""

import math
from collections.abc import Callable, Sequence
from html import escape

import attrs

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 34
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
COLOURS = ("#2f6fb0", "#c2562d", "#4a8f4a", "#8a5fa8")

Format = Callable[[float], str]


@attrs.frozen
class Line:
    """A named line of points."""

    name: str
    points: Sequence[tuple[float, float]]


def plain(value: float) -> str:
    """A number, short: 12k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _steps(most: float) -> list[float]:
    """Round numbers from 0 to at least ``most``, about five of them."""
    if most <= 0:
        return [0, 1]
    rough = most / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def lines(
    of: Sequence[Line],
    x_marks: Sequence[tuple[float, str]],
    y_format: Format = plain,
    title: str = "",
) -> str:
    """Lines over a common axis.

    :param x_marks: places on the axis, from its beginning to its end, and what to write there.
    """
    y_marks = _steps(max((y for line in of for _, y in line.points), default=0))
    begin, end = x_marks[0][0], x_marks[-1][0]
    span = end - begin or 1

    def across(x: float) -> float:
        return _LEFT + (x - begin) / span * _PLOT_WIDTH

    def up(y: float) -> float:
        return _TOP + _PLOT_HEIGHT * (1 - y / y_marks[-1])

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(y):.1f}" '
        f'y2="{up(y):.1f}"/>' + _text(_LEFT - 6, up(y) + 4, y_format(y), "end")
        for y in y_marks
    ]
    parts += (_text(across(x), _HEIGHT - 12, text) for x, text in x_marks)
    for line, colour in zip(of, COLOURS, strict=False):
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline points="{points}" stroke="{colour}"/>')
    return _svg(parts, _HEIGHT, title)


def bars(of: Sequence[tuple[str, float]], form: Format = plain, title: str = "") -> str:
    """Named bars, one below the other."""
    most = max((value for _, value in of), default=0) or 1
    parts = []
    for place, (name, value) in enumerate(of):
        y = 8 + place * 40
        parts.append(_text(4, y + 12, name, "start"))
        parts.append(_text(_WIDTH - 4, y + 12, form(value), "end"))
        width = (_WIDTH - 8) * value / most
        parts.append(
            f'<rect x="4" y="{y + 17}" width="{width:.1f}" height="12" fill="{COLOURS[0]}"/>'
        )
    return _svg(parts, 16 + 40 * len(of), title)


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    # The width is the page's; the drawing keeps its proportions.
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )


def legend(names: Sequence[str]) -> str:
    """Which colour is which line."""
    return "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(names, COLOURS, strict=False)
    )
