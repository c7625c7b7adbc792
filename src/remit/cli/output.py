"""The output of commands: tables for people, JSON for programs.

A pipe gets no colour and no wrapping: every row is one line, however long. For a terminal, a table drops its least
important columns before it breaks a cell, and never breaks an id.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_GAP = 2
_UNBOUNDED = 100_000


def console(*, stderr: bool = False) -> Console:
    """The current standard output or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBOUNDED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=not stream.isatty())


def say(*parts: RenderableType, stderr: bool = False) -> None:
    """Write for people. In a pipe, lines have no trailing spaces."""
    out = console(stderr=stderr)
    if out.is_terminal:
        out.print(*parts, sep="\n", crop=False)
        return
    with out.capture() as captured:
        out.print(*parts, sep="\n")
    print("\n".join(each.rstrip() for each in captured.get().split("\n")), end="", file=out.file)


def tell(document: object) -> None:
    """Write one JSON document, in ASCII: a payload may hold characters that a terminal cannot encode."""
    print(json.dumps(document, indent=2))


def tell_line(document: object) -> None:
    """Write one JSON document on a line of its own, at once."""
    print(json.dumps(document), flush=True)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Narrow terminals drop the column with the lowest `weight` first; None is never dropped.

    `least` is a width to which it may shrink: its cells are then cut, or broken if it `folds`.
    """

    title: str
    weight: int | None = None
    justify: Literal["left", "right"] = "left"
    least: int | None = None
    folds: bool = False


Cell = str | Text


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: int) -> Table:
    """Lay out rows below their titles, in as many columns as fit."""
    body = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    widths = {
        place: max([cell_len(column.title), *(cell_len(row[place].plain) for row in body)])
        for place, column in enumerate(columns)
        if not body or any(row[place].plain for row in body)
    }
    _fit(columns, widths, width)
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for place, wide in widths.items():
        column = columns[place]
        grid.add_column(
            column.title,
            justify=column.justify,
            width=wide,
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
        )
    for row in body:
        grid.add_row(*(row[place] for place in widths))
    needed = _total(widths.values())
    grid.width = needed if needed > width else None  # then the terminal breaks the lines, so that ids can be copied
    return grid


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) - _GAP


def _fit(columns: Sequence[Column], widths: dict[int, int], width: int) -> None:
    """Drop columns until the others fit when they shrink; then let them shrink, the last first."""

    def least(place: int) -> int:
        return min(widths[place], columns[place].least or widths[place])

    while _total(map(least, widths)) > width:
        droppable = [place for place in widths if columns[place].weight is not None]
        if not droppable:
            break
        del widths[min(droppable, key=lambda place: columns[place].weight or 0)]
    for place in reversed(widths):
        widths[place] = max(least(place), widths[place] - max(0, _total(widths.values()) - width))


def facts(pairs: Iterable[tuple[str | Text, Any]]) -> Table:
    """Lay out names and values, side by side."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, value if not isinstance(value, str) else Text(value))
    return grid
