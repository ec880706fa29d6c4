"""Tables, for a page or a terminal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column says what a row is about."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def text(table: Table) -> str:
    """Lines for a terminal: the caption, then the columns, however wide, all but the first to the right."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    made = (
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    )
    return "\n".join([table.caption, *("  ".join(cells).rstrip() for cells in made)])
