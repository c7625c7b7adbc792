"""PostgreSQL as a store: its connections by role, its migrations, its wakeup."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial

import psycopg

from remit.db import handles
from remit.db.liveness import RowLiveness
from remit.db.postgres.address import Address
from remit.db.postgres.connecting import Connecting
from remit.db.postgres.connection import AwaitingPostgres, BlockingPostgres, StatementContext, translate
from remit.db.postgres.connections import AwaitingConnections, BlockingConnections
from remit.db.postgres.sessions import BlockingSession
from remit.db.postgres.settings import BY_INDEX, PINNED, REQUIRED, REQUIRED_OF_POOLERS, as_statement, settings_of
from remit.db.postgres.wakeup import ListeningWakeup, PollingWakeup
from remit.db.statements import Dialect
from remit.db.store import Beat, Capability, Counters, Liveness, MigrationTarget, Notify, Wakeup
from remit.db.transaction import BlockingDatabase, Role, Transaction
from remit.errors import ConfigurationError

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")

_SIZES = {Role.CLIENT: 8, Role.HANDLER: 8}


class PostgresStore:
    """A PostgreSQL database. `pooler=True`: behind a transaction pooler, so no session state and no LISTEN."""

    dialect: Dialect = "postgres"

    def __init__(
        self, url: str, *, schema: str = "remit", pooler: bool = False, now: int | None = None, patience: float = 10.0
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise ConfigurationError(f"schema {schema!r}: use lower-case letters, digits and _, at most 41 characters")
        self.schema = schema
        self._pooler = pooler
        self._patience = patience
        self.address = Address.parse(url)
        self.url = self.address.url
        self._connecting = Connecting(self.address, schema, pooler=pooler)
        gate = int.from_bytes(
            hashlib.blake2b(schema.encode(), digest_size=8, person=b"remit-gate").digest(), signed=True
        )
        self.context = StatementContext(schema, gate, f"{schema}_work", now)

    @property
    def capabilities(self) -> frozenset[Capability]:
        everything = {Capability.SEVERAL_WRITERS, Capability.SEVERAL_MACHINES, Capability.EXPLICIT_MIGRATION}
        return frozenset(everything if self._pooler else {*everything, Capability.NOTIFY})

    def describe(self) -> str:
        return f"PostgreSQL {self.address}, schema {self.schema}" + (", behind a pooler" if self._pooler else "")

    def cautions(self) -> list[str]:
        if not self._pooler:
            return []
        warning = (
            "behind a pooler nobody can LISTEN, so idle workers look for jobs again and again: "
            "give workers a URL of the server itself, without pooler=True"
        )
        return [warning]

    def database(self, role: Role) -> AwaitingPostgres:
        connect = partial(self._connecting.awaiting, role)
        connections = AwaitingConnections(connect, _SIZES.get(role, 1), self._patience)
        keeps_plans = not self._pooler and settings_of(role).items() >= BY_INDEX.items()
        return AwaitingPostgres(connections, self.context, keeps_plans=keeps_plans)

    def blocking(self, role: Role) -> BlockingPostgres:
        connect = partial(self.connect, role)
        return BlockingPostgres(BlockingConnections(connect, _SIZES.get(role, 1), self._patience), self.context)

    def connect(self, role: Role) -> BlockingSession:
        """A new session, set up for what it is for."""
        return self._connecting.blocking(role)

    def wakeup(self, notify: Notify) -> Wakeup:
        if Capability.NOTIFY not in self.capabilities:
            return PollingWakeup()
        return ListeningWakeup(partial(self._connecting.awaiting, Role.LISTEN), self.context, notify)

    def liveness(self, database: BlockingDatabase, worker: str, beat: Beat, counters: Counters) -> Liveness:
        return RowLiveness(database, beat, counters)

    def adopt(self, handle: object) -> Transaction:
        return handles.adopt(handle, "postgres", self.schema, self.context.fill_params)

    def schema_version(self) -> int | None:
        try:
            with self.connect(Role.MIGRATE) as connection:
                self._refuse_settings(connection)
                return _Target(connection, self.schema).version()
        except psycopg.Error as error:
            raise translate(error) from error

    def _refuse_settings(self, connection: BlockingSession) -> None:
        """Refuse what remit relies on and cannot set. All sessions of a role have it, so one is asked."""
        required = {**REQUIRED, **REQUIRED_OF_POOLERS} if self._pooler else REQUIRED
        asked = ", ".join(f"current_setting('{name}')" for name in required)
        found = connection.execute(f"SELECT {asked}".encode()).fetchone() or ()
        for (name, (good, breaks)), value in zip(required.items(), found, strict=True):
            if value not in good:
                user, database = connection.info.user, connection.info.dbname
                raise ConfigurationError(
                    f"{self.describe()}: {name} is {value!r} in sessions of the role {user!r}: {breaks}. "
                    f'ALTER ROLE "{user}" IN DATABASE "{database}" SET {name} = \'{good[0]}\''
                )

    def migrate(self, steps: Callable[[MigrationTarget], None]) -> None:
        try:
            with self.connect(Role.MIGRATE) as connection, connection.transaction():
                if self._pooler:
                    pinned = as_statement(PINNED, connection.info.server_version, "SET LOCAL")
                    connection.execute(pinned.encode())
                # Held to the end of the transaction, so that it is safe behind a pooler too.
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [self.context.gate - 1])
                steps(_Target(connection, self.schema))
        except psycopg.Error as error:
            raise translate(error) from error


class _Target:
    def __init__(self, connection: BlockingSession, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    def execute(self, sql: str) -> None:
        self._connection.execute(sql.encode())

    def version(self) -> int | None:
        found = self._connection.execute("SELECT to_regclass(%s)", [f'"{self._schema}".migration']).fetchone()
        if not found or found[0] is None:
            return None
        row = self._connection.execute(f'SELECT max(version) FROM "{self._schema}".migration'.encode()).fetchone()
        return row[0] if row else None

    def set_version(self, version: int) -> None:
        self._connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{self._schema}".migration '
            "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())".encode()
        )
        self._connection.execute(f'INSERT INTO "{self._schema}".migration (version) VALUES ({int(version)})'.encode())
