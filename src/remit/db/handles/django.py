"""Django's connections: `django.db.connection`, `connections["name"]`, and what they stand for."""

from __future__ import annotations

from typing import Any

from remit.db.handles.adopted import Adopted, Arguments, HandleContext, Statement, must_begin
from remit.db.handles.words import FAILED
from remit.db.statements import Query, Style
from remit.db.transaction import Row, Value
from remit.errors import AutocommitTransaction, ClosedTransaction, LeaseLost, TransactionError


class Django(Adopted[Any]):
    """A connection of Django, used through its own cursors, so that its wrappers and its debug log see what is sent."""

    style: Style = "format"

    def __init__(self, handle: Any, context: HandleContext) -> None:
        super().__init__(handle, context)
        self.engine = "postgres" if handle.vendor == "postgresql" else handle.vendor

    def check(self) -> None:
        if self.handle.closed_in_transaction:
            raise ClosedTransaction("this Django connection was closed inside its atomic block: leave the block")
        if self.handle.needs_rollback:
            raise TransactionError(FAILED)
        if not self.handle.in_atomic_block and self.handle.get_autocommit():
            raise AutocommitTransaction(
                "this Django connection is in autocommit mode, so the send would commit by itself: wrap it in `with "
                "transaction.atomic():`, or leave tx out"
            )

    async def run(self, statement: Statement) -> list[Row]:
        self.handle.ensure_connection()
        if self.engine == "sqlite" and statement.writes and must_begin(self.handle.connection):
            statement = statement.begun()  # after set_autocommit(False)
        return statement.run(self._execute)

    def _execute(self, text: str, arguments: Arguments) -> list[Row]:
        with self.handle.cursor() as cursor:
            cursor.execute(text, arguments)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        try:
            return await super().fetch(query, **params)
        except LeaseLost:
            if self.handle.in_atomic_block:
                self.handle.set_rollback(True)  # the database has: on SQLite what comes next would commit by itself
            raise
