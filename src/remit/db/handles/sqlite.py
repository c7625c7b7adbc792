"""Connections of sqlite3 and aiosqlite, with whatever factories the caller gave them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from remit.db.handles.adopted import Adopted, Arguments, Statement, must_begin
from remit.db.statements import Style
from remit.db.transaction import Row
from remit.errors import ClosedTransaction

if TYPE_CHECKING:
    import sqlite3

    import aiosqlite

C = TypeVar("C", bound="sqlite3.Connection | aiosqlite.Connection")


@contextmanager
def _plain_text(connection: Any) -> Iterator[None]:
    """Read text as `str` for the moment: SQLite's modules keep its type on the connection, not on the cursor."""
    factory = connection.text_factory
    if factory is str:
        yield
        return
    connection.text_factory = str
    try:
        yield
    finally:
        connection.text_factory = factory


class _Sqlite(Adopted[C]):
    engine = "sqlite"
    style: Style = "named"

    def check(self) -> None:
        try:
            _ = self.handle.in_transaction
        except Exception as error:  # that is all that can go wrong, and each module has an error of its own for it
            raise ClosedTransaction("this SQLite connection is closed, or not open yet: pass an open one") from error
        must_begin(self.handle)

    def begin_for(self, statement: Statement) -> Statement:
        """The statement, with a BEGIN before it where it writes and the caller's transaction has not begun yet."""
        return statement.begun() if statement.writes and must_begin(self.handle) else statement


class BlockingSqlite3(_Sqlite["sqlite3.Connection"]):
    """A `sqlite3.Connection`."""

    async def run(self, statement: Statement) -> list[Row]:
        with _plain_text(self.handle):
            return self.begin_for(statement).run(self._execute)

    def _execute(self, text: str, arguments: Arguments) -> list[Row]:
        cursor = self.handle.cursor()
        cursor.row_factory = None
        cursor.execute(text, arguments)
        return cursor.fetchall() if cursor.description else []


class Aiosqlite(_Sqlite["aiosqlite.Connection"]):
    """An `aiosqlite.Connection`: each part of a statement is a hop or two to its thread."""

    blocking = False

    async def run(self, statement: Statement) -> list[Row]:
        rows: list[Row] = []
        with _plain_text(self.handle):
            for text, arguments in self.begin_for(statement).parts:
                found = await self._execute(text, arguments)
                rows = rows or found
        return rows

    async def _execute(self, text: str, arguments: Any) -> list[Row]:
        cursor = await self.handle.execute(text, arguments)
        cursor.row_factory = None
        rows: list[Any] = list(await cursor.fetchall()) if cursor.description else []
        await cursor.close()
        return rows
