"""What all adopted handles have in common: a statement is spelled for the driver, run, and its errors are told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from remit.db.handles.words import translate
from remit.db.statements import Dialect, Query, Style, render
from remit.db.transaction import Row, Value
from remit.errors import AutocommitTransaction

H = TypeVar("H")
FillParams: TypeAlias = Callable[[dict[str, Value]], dict[str, object]]
Arguments: TypeAlias = dict[str, object] | tuple[object, ...]
Execute: TypeAlias = Callable[[str, Arguments], list[Row]]

_BY_NAME: frozenset[Style] = frozenset({"named", "pyformat"})


@dataclass(frozen=True, slots=True)
class Statement:
    """The parts of a statement as one driver takes them, each with its arguments."""

    parts: tuple[tuple[str, Arguments], ...]
    writes: bool

    @property
    def only(self) -> tuple[str, Arguments]:
        """The one part of a statement for PostgreSQL."""
        [part] = self.parts
        return part

    def begun(self) -> Statement:
        """The same, in a transaction that it begins; IMMEDIATE, since a transaction that read first may not write."""
        return replace(self, parts=(("BEGIN IMMEDIATE", ()), *self.parts))

    def run(self, execute: Execute) -> list[Row]:
        """Run the parts in order; the first that returns rows gives the result."""
        rows: list[Row] = []
        for text, arguments in self.parts:
            found = execute(text, arguments)
            rows = rows or found
        return rows


@dataclass(frozen=True, slots=True)
class HandleContext:
    """A store, as far as a handle must know it: its dialect, its schema, and the parameters that it adds to all."""

    dialect: Dialect
    schema: str
    fill_params: FillParams

    def spell(self, query: Query, params: dict[str, Value], style: Style) -> Statement:
        """Spell a statement for a driver, with its arguments."""
        rendered = render(query, self.dialect, style, self.schema)
        filled = self.fill_params(params)
        if style in _BY_NAME:
            return Statement(tuple((text, filled) for text in rendered.parts), rendered.writes)
        ordered = (tuple(filled[name] for name in names) for names in rendered.names)
        return Statement(tuple(zip(rendered.parts, ordered, strict=True)), rendered.writes)


class Adopted(ABC, Generic[H]):
    """A caller's handle as a transaction of one store."""

    blocking: ClassVar[bool] = True
    """Whether its statements never suspend, so that `run_blocking` can use it."""
    engine: str
    """The engine that the handle speaks to: a `Dialect`, or the driver's word for another."""
    style: Style
    """How its driver spells parameters."""

    def __init__(self, handle: H, context: HandleContext) -> None:
        self.handle = handle
        self.context = context

    @property
    def dialect(self) -> Dialect:
        return self.context.dialect

    @abstractmethod
    def check(self) -> None:
        """Refuse a handle that is closed, has failed, or commits by itself; as far as can be told without the server.

        Asked at adoption and before each statement: the caller may have ended the transaction in between.
        """

    async def settle(self) -> None:
        """Wait for what the caller has sent already, so that its errors are told apart from those of remit."""

    def will_be_prepared(self) -> bool:
        """Whether the caller commits in two phases, as far as the handle shows it.

        PostgreSQL prepares no transaction that has notified anybody. Workers find what was sent when they next look.
        """
        return False

    @abstractmethod
    async def run(self, statement: Statement) -> list[Row]:
        """Execute in the handle's transaction."""

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        self.check()
        await self.settle()
        if self.will_be_prepared():
            params = {**params, "gate": None}  # the wakeup's: without it nothing is notified
        statement = self.context.spell(query, params, self.style)
        try:
            return await self.run(statement)
        except Exception as error:
            if word := translate(error, self.context.schema):
                raise word from error
            raise  # the caller may expect what its own driver raises


class SqliteDriver(Protocol):
    """What the connections of sqlite3 and aiosqlite tell of themselves."""

    @property
    def in_transaction(self) -> bool: ...

    @property
    def isolation_level(self) -> str | None: ...


def must_begin(driver: SqliteDriver) -> bool:
    """Whether a write would come before the transaction that the caller's commit is to end.

    sqlite3 begins one by itself where a statement starts with INSERT, UPDATE or DELETE, but not before WITH … UPDATE,
    nor before a script that reads first. Raises `AutocommitTransaction` where the caller began none and nothing will.
    """
    if driver.in_transaction:
        return False
    if driver.isolation_level is None or _autocommit(driver) is True:
        raise AutocommitTransaction(
            "this SQLite connection is in autocommit mode and outside a transaction, so the send would commit by "
            "itself: execute BEGIN IMMEDIATE first, or leave tx out"
        )
    return True


def _autocommit(driver: Any) -> object:
    """The attribute that sqlite3 has since Python 3.12, on the connection that aiosqlite wraps."""
    return getattr(getattr(driver, "_conn", driver), "autocommit", None)
