"""One linear history of numbered SQL files per engine, and how a store is brought to the present.

A migration is a file `<dialect>/NNNN_name.sql`. All that are missing run in one transaction under the store's migration
lock, so that any number of processes may migrate at once and a failure leaves nothing behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from remit.db.statements import Dialect, in_schema
from remit.db.store import Capability, MigrationTarget, Store
from remit.errors import StoreBusy, WrongSchema

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the history."""

    version: int
    name: str
    sql: str


@cache
def history(dialect: Dialect) -> tuple[Migration, ...]:
    """Every migration of an engine, oldest first."""
    found = [
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in files("remit.schema").joinpath(dialect).iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    return tuple(sorted(found, key=lambda step: step.version))


def latest(dialect: Dialect) -> int:
    """The version that this release of remit needs."""
    return history(dialect)[-1].version


def script(store: Store, *, since: int | None = None) -> str:
    """The SQL that `migrate` would run, for a DBA to read and to run."""
    texts = ["BEGIN;", _prologue(store)]
    for step in _missing(store, since):
        texts += [f"-- {step.version:04d} {step.name}", _text(store, step).strip(), _record(store, step.version)]
    return "\n\n".join([*(text for text in texts if text), "COMMIT;", ""])


def migrate(store: Store) -> list[Migration]:
    """Bring the store to the present; answers what ran. Safe to call at any time, by any number of processes."""
    applied: list[Migration] = []

    def steps(target: MigrationTarget) -> None:
        version = target.version()
        if version is None and (prologue := _prologue(store)):
            target.execute(prologue)
        for step in _missing(store, version):
            target.execute(_text(store, step))
            target.set_version(step.version)
            applied.append(step)

    store.migrate(steps)
    return applied


def check(store: Store) -> None:
    """Raise `WrongSchema` unless the store is at the version that this release needs.

    A store that migrates by itself is migrated instead, unless it is ahead of this release.
    """
    found, needed = store.schema_version(), latest(store.dialect)
    if found == needed:
        return
    if found is not None and found > needed:
        raise WrongSchema(
            f"{store.describe()} has schema version {found}, this release of remit knows {needed}: "
            "upgrade remit in this process"
        )
    if Capability.EXPLICIT_MIGRATION not in store.capabilities:
        try:
            migrate(store)
        except StoreBusy as error:
            raise StoreBusy(
                f"{store.describe()} must be migrated at its first use, and another transaction holds its write lock: "
                "run `remit migrate` before, or use the application once outside that transaction"
            ) from error
        return
    state = "has no tables of remit" if found is None else f"has schema version {found}, this release needs {needed}"
    raise WrongSchema(f"{store.describe()} {state}: run `remit migrate`")


def _missing(store: Store, version: int | None) -> list[Migration]:
    return [step for step in history(store.dialect) if step.version > (version or 0)]


def _text(store: Store, step: Migration) -> str:
    return in_schema(step.sql, store.schema) if store.dialect == "postgres" else step.sql


def _prologue(store: Store) -> str:
    """The schema, unless it exists: to say IF NOT EXISTS takes the right to create one all the same."""
    if store.dialect != "postgres":
        return ""
    name = f'"{store.schema}"'
    return f"DO $$BEGIN IF to_regnamespace('{name}') IS NULL THEN CREATE SCHEMA {name}; END IF; END$$;"


def _record(store: Store, version: int) -> str:
    if store.dialect == "postgres":
        return (
            f'CREATE TABLE IF NOT EXISTS "{store.schema}".migration '
            "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());\n"
            f'INSERT INTO "{store.schema}".migration (version) VALUES ({version});'
        )
    return (
        "CREATE TABLE IF NOT EXISTS remit_migration "
        "(version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;\n"
        f"INSERT INTO remit_migration VALUES ({version}, unixepoch() * 1000000);"
    )
