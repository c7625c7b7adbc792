"""Fresh, migrated stores for tests: a SQLite file that is copied, or a PostgreSQL schema of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from remit import schema
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """A migrated store for one test: `Remit(database.url, schema=database.schema, …)`.

    Create the application's own tables at `url` too; on PostgreSQL the database is shared, and `schema` is only
    remit's.
    """

    url: str
    schema: str = "remit"

    @property
    def path(self) -> Path:
        """The file of a SQLite store. Raises `ConfigurationError` for another engine."""
        store = open_store(self.url)
        if not isinstance(store, SqliteStore):
            raise ConfigurationError(f"{store.describe()} is not a file")
        return store.path

    def __str__(self) -> str:
        return self.url


class Databases:
    """Makes fresh stores at one place: `sqlite://`, the default, or the URL of a PostgreSQL database.

    A SQLite store is a copy of a migrated one, in memory if the system supports it: it costs less than a millisecond,
    and is removed after its block. On PostgreSQL each store is a schema of its own, migrated and dropped, which the
    user of the URL must be allowed to create.
    """

    def __init__(self, url: str = "sqlite://") -> None:
        self._url = url
        self._count = 0

    @contextmanager
    def fresh(self) -> Iterator[FreshDatabase]:
        """A store for the duration of the block. Raises errors of opening and migrating it."""
        if self._url.startswith("sqlite"):
            yield from self._copy()
        else:
            yield from self._schema()

    def _copy(self) -> Iterator[FreshDatabase]:
        self._count += 1
        folder = self._template.with_name(f"{self._count}")
        folder.mkdir()
        shutil.copyfile(self._template, folder / "remit.db")
        database = FreshDatabase(f"sqlite:///{folder / 'remit.db'}?synchronous=normal")
        store = open_store(database.url)
        # A store has an identity, which distinguishes it from that of another transaction.
        store.migrate(lambda target: target.execute(f"UPDATE remit_meta SET store = '{uuid4()}'"))
        try:
            yield database
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def _template(self) -> Path:
        store = open_store("sqlite://?synchronous=normal")
        assert isinstance(store, SqliteStore)
        schema.migrate(store)
        return store.path

    def _schema(self) -> Iterator[FreshDatabase]:
        database = FreshDatabase(self._url, f"remit_{uuid4().hex[:12]}")
        store = open_store(database.url, schema=database.schema)
        schema.migrate(store)
        try:
            yield database
        finally:
            store.migrate(lambda target: target.execute(f'DROP SCHEMA "{database.schema}" CASCADE'))
