"""Tables fit a terminal: the least important columns go first, and an id is never broken."""

import io
import uuid

import pytest
from rich.console import Console

from remit.cli.output import Column, table

COLUMNS = (
    Column("ID"),
    Column("JOB", least=20, folds=True),
    Column("TRY", 2, justify="right"),
    Column("NOTE", 1, least=10),
)


def _drawn(width: int, *rows: tuple[str, ...]) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table(COLUMNS, rows, width), crop=False)
    return [each.rstrip() for each in file.getvalue().splitlines()]


ID = str(uuid.UUID(int=7))
ROW = (ID, "billing.sync-invoice", "1/3", "the ledger did not answer in time")


def test_all_columns_stand_where_there_is_room() -> None:
    assert _drawn(120, ROW) == [
        "ID                                    JOB                   TRY  NOTE",
        f"{ID}  billing.sync-invoice  1/3  the ledger did not answer in time",
    ]


def test_a_note_is_cut_before_a_column_goes() -> None:
    assert _drawn(85, ROW)[1] == f"{ID}  billing.sync-invoice  1/3  the ledger did not …"


@pytest.mark.parametrize("width", [40, 58, 60, 65, 70, 80, 100])
def test_an_id_is_whole_at_every_width(width: int) -> None:
    head, *lines = _drawn(width, ROW)
    assert [drawn for drawn in lines if not drawn.startswith(" ")] == [lines[0]]  # the others go on with the job's name
    assert lines[0].startswith(ID)
    assert max(len(drawn) for drawn in (head, *lines)) <= max(width, len(ID) + 2 + 20)


def test_the_least_important_goes_first() -> None:
    assert _drawn(66, ROW)[0].split() == ["ID", "JOB", "TRY"]
    assert _drawn(58, ROW)[0].split() == ["ID", "JOB"]


def test_a_column_without_content_is_not_shown() -> None:
    assert _drawn(120, (*ROW[:3], ""))[0].split() == ["ID", "JOB", "TRY"]


def test_what_looks_like_markup_is_text() -> None:
    assert "[red]x[/red]" in _drawn(120, (*ROW[:3], "[red]x[/red]"))[1]
