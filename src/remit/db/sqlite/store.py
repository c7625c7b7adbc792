"""A SQLite file as a store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from remit.db import handles
from remit.db.sqlite.connection import (
    AwaitingSqlite,
    BlockingSqlite,
    Clock,
    SqliteTransaction,
    connect,
    now_micros,
    translate,
    writing,
)
from remit.db.sqlite.liveness import FileLiveness
from remit.db.sqlite.pacing import SENDER_SHARE, SenderPacing, WorkerPacing, WritePacing
from remit.db.sqlite.place import local_path, obstacle
from remit.db.sqlite.turns import Turns
from remit.db.sqlite.wakeup import VersionWakeup
from remit.db.statements import Dialect
from remit.db.store import Beat, Capability, Counters, Liveness, MigrationTarget, Notify, Wakeup
from remit.db.transaction import BlockingDatabase, Role, Transaction
from remit.errors import ConfigurationError, RemitError, nearest

OLDEST = (3, 38, 0)
LONGEST_BUSY_TIMEOUT = 86_400.0
LONGEST_WRITE_PAUSE = 10.0
_OPTIONS = {"synchronous": "full", "busy_timeout": "5", "write_pause": "1"}
_PACED = frozenset({Role.RAIL, Role.CLAIM, Role.COMPLETE, Role.TURN, Role.RELAY, Role.LEADER})


class SqliteStore:
    """A SQLite file: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for one that is thrown away.

    Options in the URL: `synchronous=full` (the default: a commit outlives a power loss) or `normal` (faster; a power
    loss, not a crash of a process, may take the last commits); `busy_timeout=5` in seconds; `write_pause=1`, how long
    workers pause after each write, in lengths of that write, so that others can write. A process that sends in a tight
    loop pauses half as long, and only if others write too. With 0 nothing pauses: faster in a file that hardly anything
    else writes to, and otherwise the application starves while workers are busy.
    """

    dialect: Dialect = "sqlite"
    schema = "remit"
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, url: str, *, clock: Clock = now_micros) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: remit needs 3.38 or newer")
        place, _, query = url.partition("://")[2].partition("?")
        options = dict(parse_qsl(query))
        for option in options:
            if option not in _OPTIONS:
                raise ConfigurationError(f"unknown option {option!r} in the SQLite URL.{nearest(option, _OPTIONS)}")
        options = _OPTIONS | options
        if options["synchronous"] not in ("full", "normal", "extra"):
            raise ConfigurationError("synchronous in the SQLite URL is `full`, `extra` or `normal`")
        self.path = local_path(unquote(place))
        self.url = f"sqlite:///{quote(str(self.path))}" + (f"?{query}" if query else "")
        self._synchronous = options["synchronous"]
        self._busy_timeout = _number("busy_timeout", options["busy_timeout"], "seconds", LONGEST_BUSY_TIMEOUT)
        self._write_pause = _number("write_pause", options["write_pause"], "lengths of a write", LONGEST_WRITE_PAUSE)
        self._clock = clock

    @property
    def sidecar(self) -> Path:
        """A folder beside the database for files of this machine's processes."""
        return self.path.with_name(self.path.name + "-remit")

    def describe(self) -> str:
        return f"SQLite {self.path}"

    def cautions(self) -> list[str]:
        if self._synchronous != "normal":
            return []
        return ["synchronous=normal in the URL: a power loss may take the last commits; synchronous=full keeps them"]

    def connect(self, role: Role = Role.CLIENT) -> sqlite3.Connection:
        """A new connection, set up for what it is for."""
        # A beat waits for nobody: what it writes here is for people, and the next beat writes it again.
        patience = 0.05 if role is Role.HEARTBEAT else self._busy_timeout
        # A claim that a power loss undoes was never made, and a fan-out is made again: nothing is lost by not waiting
        # for the disk.
        synchronous = "normal" if role in {Role.CLAIM, Role.RELAY} else self._synchronous
        try:
            return connect(str(self.path), busy_timeout=patience, synchronous=synchronous)
        except sqlite3.Error as error:
            raise _unopened(self.path, error) from error

    def blocking(self, role: Role) -> BlockingSqlite:
        return BlockingSqlite(
            partial(self.connect, role), str(self.path), self._clock, self._pacing(role), self._worker_pacing
        )

    def _pacing(self, role: Role) -> WritePacing | None:
        if role in _PACED:
            return self._worker_pacing()
        if role is Role.CLIENT and self._write_pause:
            return SenderPacing(Turns(self.sidecar / "send.lock"), self._write_pause * SENDER_SHARE)
        return None

    def _worker_pacing(self) -> WritePacing:
        return WorkerPacing(Turns(self.sidecar / "turn.lock"), self._write_pause)

    def database(self, role: Role) -> AwaitingSqlite:
        return AwaitingSqlite(self.blocking(role), f"remit-{role}")

    def wakeup(self, notify: Notify) -> Wakeup:
        return VersionWakeup(self.connect, self.path.with_name(f"{self.path.name}-wal"), notify)

    def liveness(self, database: BlockingDatabase, worker: str, beat: Beat, counters: Counters) -> Liveness:
        return FileLiveness(self.sidecar, worker, database, beat, counters)

    def adopt(self, handle: object) -> Transaction:
        return handles.adopt(handle, "sqlite", self.schema, lambda params: {"now": self._clock(), **params})

    def schema_version(self) -> int | None:
        if os.access(self.path.parent, os.F_OK) and not os.access(self.path, os.F_OK):
            return None  # without its folder it is a misspelled path, which is told: only `migrate` makes folders
        connection = self.connect()
        try:
            return _Target(connection).version()
        finally:
            connection.close()

    def migrate(self, steps: Callable[[MigrationTarget], None]) -> None:
        with suppress(OSError):  # what is in the way, connecting says
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self.connect()
        try:
            with writing(connection):
                steps(_Target(connection))
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            connection.close()


def _unopened(path: Path, error: sqlite3.Error) -> RemitError:
    """What keeps a file from being opened, which SQLite says without its name and without the reason."""
    said = translate(error)
    if error.sqlite_errorname == "SQLITE_NOTADB":
        reason: object = "it is not an SQLite file; correct the URL, or move that file away"
    elif error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
        reason = obstacle(path) or said
    else:
        return said
    return type(said)(f"{path} cannot be opened: {reason}")


def _number(option: str, text: str, unit: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ConfigurationError(f"{option} in the SQLite URL is a number of {unit} from 0 to {most:.0f}, not {text!r}")
    return number


class _Target:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str) -> None:
        statement = ""
        for line in sql.splitlines(keepends=True):  # executescript would commit the transaction first
            statement += line
            if sqlite3.complete_statement(statement):
                self._connection.execute(statement)
                statement = ""
        if statement.strip():
            self._connection.execute(statement)

    def version(self) -> int | None:
        table = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'remit_migration'").fetchone()
        if not table:
            return None
        [version] = self._connection.execute("SELECT max(version) FROM remit_migration").fetchone()
        return None if version is None else int(version)

    def set_version(self, version: int) -> None:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS remit_migration "
            "(version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT"
        )
        self._connection.execute("INSERT INTO remit_migration VALUES (?, ?)", (version, now_micros()))


__all__ = ["SqliteStore", "SqliteTransaction"]
