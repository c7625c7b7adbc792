"""The audit: triggers that write down every transition of every job and event, in the transaction that makes it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.harness import Database

_TABLES = """
CREATE TABLE audit (
    seq {serial}, op text NOT NULL, job text NOT NULL, name text NOT NULL, was text, becomes text, was_token bigint,
    token bigint, was_worker text, worker text, was_failures integer, failures integer, causation text, event text,
    subscription text, payload text
);
CREATE TABLE audit_event (
    seq {serial}, op text NOT NULL, event text NOT NULL, name text NOT NULL, was text, becomes text, causation text,
    payload text, number bigint
);
CREATE TABLE business (id text NOT NULL);
"""

_JOB = (
    "'{op}', {it}.id{t}, {it}.name, {was}.state, {new}.state, {was}.token, {new}.token, {was}.worker{t},"
    " {new}.worker{t}, {was}.failures, {new}.failures, {it}.causation{t}, {it}.event_id{t}, {it}.subscription{t},"
    " {it}.payload"
)
_EVENT = "'{op}', {it}.id{t}, {it}.name, {was}.state, {new}.state, {it}.causation{t}, {it}.payload, {it}.seq"
_INTO = {
    "job": "INSERT INTO {schema}audit (op, job, name, was, becomes, was_token, token, was_worker, worker, was_failures,"
    " failures, causation, event, subscription, payload)",
    "event": "INSERT INTO {schema}audit_event (op, event, name, was, becomes, causation, payload, number)",
}
_CHANGED = {
    "job": "old.state <> new.state OR old.token <> new.token OR old.failures <> new.failures"
    " OR old.worker {isnt} new.worker",
    "event": "old.state <> new.state",
}
_VALUES = {"job": _JOB, "event": _EVENT}


def install(database: Database) -> None:
    """Create the tables and triggers of the audit, and the application's own table."""
    serial = "INTEGER PRIMARY KEY" if database.is_sqlite else "bigserial PRIMARY KEY"
    for statement in _TABLES.format(serial=serial).split(";\n"):
        if statement.strip():
            database.execute(statement)
    for table in ("job", "event"):
        for op in ("INSERT", "UPDATE", "DELETE"):
            (_on_sqlite if database.is_sqlite else _on_postgres)(database, table, op)


def _insertion(table: str, op: str, *, sqlite: bool) -> str:
    values = _VALUES[table].format(
        op=op, it="old" if op == "DELETE" else "new", was="old", new="new", t="" if sqlite else "::text"
    )
    if op == "INSERT":
        values = _without(values, "old.")
    if op == "DELETE":
        values = _without(values, "new.")
    return f"{_INTO[table].format(schema='' if sqlite else 'public.')} SELECT {values}"


def _without(values: str, row: str) -> str:
    return ", ".join("NULL" if row in each else each for each in values.split(", "))


def _on_sqlite(database: Database, table: str, op: str) -> None:
    when = f"WHEN {_CHANGED[table].format(isnt='IS NOT')}" if op == "UPDATE" else ""
    database.execute(
        f"CREATE TRIGGER audit_{table}_{op} AFTER {op} ON remit_{table} {when}"
        f" BEGIN {_insertion(table, op, sqlite=True)}; END"
    )


def _on_postgres(database: Database, table: str, op: str) -> None:
    when = f"WHEN ({_CHANGED[table].format(isnt='IS DISTINCT FROM')})" if op == "UPDATE" else ""
    name = f"audit_{table}_{op}".lower()
    database.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {_insertion(table, op, sqlite=False)}; RETURN NULL; END $$"
    )
    database.execute(
        f"CREATE TRIGGER {name} AFTER {op} ON remit.{table} FOR EACH ROW {when} EXECUTE FUNCTION public.{name}()"
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One transition of a job: `INSERT` is None → a state, `DELETE` a state → None."""

    seq: int
    op: str
    job: str
    name: str
    was: str | None
    becomes: str | None
    was_token: int | None
    token: int | None
    was_worker: str | None
    worker: str | None
    was_failures: int | None
    failures: int | None
    causation: str | None
    event: str | None
    subscription: str | None
    payload: str | None


@dataclass(frozen=True, slots=True)
class EventMove:
    """One transition of an event. `number` is its place in the log."""

    seq: int
    op: str
    event: str
    name: str
    was: str | None
    becomes: str | None
    causation: str | None
    payload: str | None
    number: int | None


def moves(database: Database) -> tuple[Move, ...]:
    """Every transition of every job, in order; those of one job are in the order of their commits."""
    return tuple(Move(*row) for row in database.execute("SELECT * FROM audit ORDER BY seq"))


def event_moves(database: Database) -> tuple[EventMove, ...]:
    """The same for events."""
    return tuple(EventMove(*row) for row in database.execute("SELECT * FROM audit_event ORDER BY seq"))
