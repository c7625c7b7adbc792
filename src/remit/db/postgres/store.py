"""PostgreSQL as a store: its connections by role, its migrations, its bell."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remit.db import handles
from remit.db.postgres.bell import ListeningBell, PollingBell
from remit.db.postgres.connection import AwaitingPostgres, BlockingPostgres, Dressing, translate
from remit.db.postgres.connections import AwaitingConnections, BlockingConnections
from remit.db.postgres.sessions import AwaitingSession, BlockingSession
from remit.db.statements import Dialect
from remit.db.store import Bell, Capability, MigrationTarget, Ring
from remit.db.transaction import Role, Transaction
from remit.errors import ConfigurationError

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")

# Our own sessions only. Planned on an empty table, a claim would scan the table, and keep doing so when it is full.
# With no way left but the indexes, the plans of claim and completion depend on no parameter, so they are made once:
# that saves a millisecond each time. What the leader does now and then is planned for what it is about.
_BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
_PLANNED_ONCE = f"{_BY_INDEX}; SET plan_cache_mode = force_generic_plan"
_SETTINGS = {
    # Who flushes inside a transaction that holds the lane of an ordered event would wait for itself.
    Role.RAIL: "SET lock_timeout = '1s'",
    # A claim that a crash of the server undoes was never made: nothing is lost by not waiting for the disk.
    Role.CLAIM: f"{_PLANNED_ONCE}; SET synchronous_commit = off",
    Role.COMPLETE: _PLANNED_ONCE,
    Role.TURN: f"{_PLANNED_ONCE}; SET lock_timeout = '1s'",
    # So is a fan-out that is undone: it is made again, and every delivery has the same id.
    Role.RELAY: f"{_PLANNED_ONCE}; SET synchronous_commit = off",
    Role.HEARTBEAT: "SET statement_timeout = '5s'; SET lock_timeout = '2s'",
    Role.LEADER: f"{_BY_INDEX}; SET statement_timeout = '60s'; SET lock_timeout = '5s'",
}

_PLAIN: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
_SIZES = {Role.CLIENT: 8, Role.HANDLER: 8}


class PostgresStore:
    """A PostgreSQL database. `pooler=True`: behind a transaction pooler, so no session state and no LISTEN."""

    dialect: Dialect = "postgres"
    sidecar: Path | None = None

    def __init__(
        self, url: str, *, schema: str = "remit", pooler: bool = False, now: int | None = None, patience: float = 10.0
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise ConfigurationError(f"schema {schema!r}: use lower-case letters, digits and _, at most 41 characters")
        self.schema = schema
        self._pooler = pooler
        self._patience = patience
        self._url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        try:
            conninfo_to_dict(self._url)
        except psycopg.ProgrammingError as error:
            raise ConfigurationError(f"this is not a PostgreSQL URL: {error}") from error
        gate = int.from_bytes(
            hashlib.blake2b(schema.encode(), digest_size=8, person=b"remit-gate").digest(), signed=True
        )
        self.dressing = Dressing(schema, gate, f"{schema}_work", now)

    @property
    def capabilities(self) -> frozenset[Capability]:
        everything = {Capability.SEVERAL_WRITERS, Capability.SEVERAL_MACHINES, Capability.EXPLICIT_MIGRATION}
        return frozenset(everything if self._pooler else {*everything, Capability.NOTIFY})

    def describe(self) -> str:
        parts = urlsplit(self._url)
        where = f"{parts.hostname or 'localhost'}:{parts.port or 5432}/{parts.path.lstrip('/') or '?'}"
        return f"PostgreSQL {where}, schema {self.schema}" + (", behind a pooler" if self._pooler else "")

    def cautions(self) -> list[str]:
        if not self._pooler:
            return []
        warning = (
            "behind a pooler nobody can LISTEN, so idle workers look for jobs again and again: "
            "give workers a URL of the server itself, without pooler=True"
        )
        return [warning]

    def _conninfo(self, role: Role) -> str:
        extra: dict[str, Any] = {"application_name": f"{self.schema}:{role}"}
        known = conninfo_to_dict(self._url)
        defaults = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3,
                    "tcp_user_timeout": 20_000}  # fmt: skip
        extra |= {key: value for key, value in defaults.items() if key not in known}
        return make_conninfo(self._url, **extra)

    def database(self, role: Role) -> AwaitingPostgres:
        async def connect() -> AwaitingSession:
            connection = await AwaitingSession.connect(self._conninfo(role), **_PLAIN)
            connection.prepares = not self._pooler
            if settings := self._settings(role):
                await connection.execute(settings.encode())
            return connection

        connections = AwaitingConnections(connect, _SIZES.get(role, 1), self._patience)
        return AwaitingPostgres(connections, self.dressing, keeps_plans=_BY_INDEX in self._settings(role))

    def blocking(self, role: Role) -> BlockingPostgres:
        def connect() -> BlockingSession:
            connection = BlockingSession.connect(self._conninfo(role), **_PLAIN)
            connection.prepares = not self._pooler
            if settings := self._settings(role):
                connection.execute(settings.encode())
            return connection

        return BlockingPostgres(BlockingConnections(connect, _SIZES.get(role, 1), self._patience), self.dressing)

    def _settings(self, role: Role) -> str:
        return "" if self._pooler else _SETTINGS.get(role, "")

    def bell(self, ring: Ring) -> Bell:
        if Capability.NOTIFY not in self.capabilities:
            return PollingBell()

        async def connect() -> AsyncConnection[Any]:
            return await AwaitingSession.connect(self._conninfo(Role.LISTEN), **_PLAIN)

        return ListeningBell(connect, self.dressing, ring)

    def adopt(self, handle: object) -> Transaction:
        return handles.adopt(handle, "postgres", self.schema, self.dressing.dress)

    def schema_version(self) -> int | None:
        try:
            with Connection.connect(self._conninfo(Role.MIGRATE), **_PLAIN) as connection:
                return _Target(connection, self.schema).version()
        except psycopg.Error as error:
            raise translate(error) from error

    def migrate(self, steps: Callable[[MigrationTarget], None]) -> None:
        try:
            connected = Connection.connect(self._conninfo(Role.MIGRATE), **_PLAIN)
            with connected as connection, connection.transaction():
                # Held to the end of the transaction, so that it is safe behind a pooler too.
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [self.dressing.gate - 1])
                steps(_Target(connection, self.schema))
        except psycopg.Error as error:
            raise translate(error) from error


class _Target:
    def __init__(self, connection: Connection[Any], schema: str) -> None:
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
