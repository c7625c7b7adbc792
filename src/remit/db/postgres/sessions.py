"""remit's statements on remit's own connections, with nothing between them and libpq but the waiting.

A cursor is made for SQL that comes once. What remit sends is always the same, and most of what a cursor does for it
would be done again each time: choose a type for every parameter, look the text up, describe the result. Here a
statement is prepared when a session first needs it, and goes out by its title from then on. Its text casts every
parameter, so all of them travel as text, and the server settles their types once.

The driver itself prepares nothing on such a connection: it would drop everything that is prepared when a handler's own
SQL rolls back or alters something.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, Connection, DataError, NotSupportedError, OperationalError, pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute

from remit.db import forks
from remit.db.statements import Query, render
from remit.db.transaction import Row

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

_FAILED = pq.ExecStatus.FATAL_ERROR
_ROWS = pq.ExecStatus.TUPLES_OK


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as libpq takes it: its title in a session, its text, the names of its parameters in order."""

    title: bytes
    text: bytes
    names: tuple[str, ...]


@cache
def statement(query: Query, schema: str) -> Statement:
    """Spell a statement; done once for each schema."""
    rendered = render(query, "postgres", "numbered", schema)
    text = rendered.text.encode()
    title = f"{query.package}.{query.name}.{blake2b(text, digest_size=4).hexdigest()}"
    return Statement(title.encode(), text, rendered.names[0])


class _Own:
    """A connection of remit's own. A forked child loses it: two processes must not speak on one socket, and a child
    that held it open would keep the session, with its locks, when the parent is killed.
    """

    pgconn: pq.abc.PGconn
    prepares = True
    """Off behind a transaction pooler."""
    is_new = True
    """Whether it was never lent before: then its trouble is the server's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        forks.in_children(self)

    def forked(self) -> None:
        with suppress(OperationalError):  # it is closed
            forks.detach(self.pgconn.socket)


class AwaitingSession(_Own, AsyncConnection[Any]):
    """A connection of remit's own, for asyncio."""

    @cached_property
    def _statements(self) -> _Statements:
        return _Statements(self)

    async def ask(self, statement: Statement, arguments: Sequence[object]) -> list[Row]:
        """Run a statement and read its rows."""
        async with self.lock:
            return await self.wait(self._statements.run(statement, arguments))


class BlockingSession(_Own, Connection[Any]):
    """A connection of remit's own, for blocking code."""

    @cached_property
    def _statements(self) -> _Statements:
        return _Statements(self)

    def ask(self, statement: Statement, arguments: Sequence[object]) -> list[Row]:
        """Run a statement and read its rows."""
        with self.lock:
            return self.wait(self._statements.run(statement, arguments))


class _Statements:
    """The statements of one session, which it finds again by their titles."""

    def __init__(self, connection: AwaitingSession | BlockingSession) -> None:
        self._pgconn = connection.pgconn
        self._rows = Transformer(connection)
        self._prepares = connection.prepares
        self._prepared: set[bytes] = set()

    def run(self, statement: Statement, arguments: Sequence[object]) -> PQGen[list[Row]]:
        """Send a statement and read its rows: what a connection's `wait` drives."""
        if self._pgconn.pipeline_status:  # a handler's; the answer would not come before its next sync
            raise NotSupportedError("remit cannot send inside a pipeline of this connection: leave its block first")
        values = _as_texts(arguments)
        if not self._prepares:
            self._pgconn.send_query_params(statement.text, values)
        else:
            if statement.title not in self._prepared:
                self._pgconn.send_prepare(statement.title, statement.text)
                yield from self._answer()
                self._prepared.add(statement.title)
            self._pgconn.send_query_prepared(statement.title, values)
        result = yield from self._answer()
        if result.status != _ROWS:
            return []
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    def _answer(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from execute(self._pgconn)
        for result in results:  # behind the rows, the commit may have failed
            if result.status == _FAILED:
                raise error_from_result(result)
        return results[0]


def _as_texts(values: Sequence[object]) -> list[bytes | None]:
    texts = [None if value is None else str(value).encode() for value in values]
    if b"\0" in b"".join(filter(None, texts)):  # libpq would end the text there
        raise DataError("PostgreSQL text cannot hold a NUL")
    return texts
