"""Tables as text: rows of cells, the first row the headings, the first column a name."""

from collections.abc import Sequence

Table = Sequence[Sequence[str]]


def columns(table: Table) -> str:
    """For a terminal: columns in line, names to the left and figures to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )


def markdown(table: Table) -> str:
    """As Markdown."""
    head, *body = (f"| {' | '.join(row)} |" for row in table)
    rule = "|---|" + "---:|" * (len(table[0]) - 1)
    return "\n".join([head, rule, *body])
