"""A real PgBouncer in transaction pooling mode, in front of a `PostgresServer`."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from devtools.daemon import Daemon, ServerFailed, free_port

_SETTINGS: Mapping[str, str] = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "trust",
    "pool_mode": "transaction",
    "default_pool_size": "20",
    "max_client_conn": "500",
    "server_check_delay": "0",  # a server connection that died is found before a client gets it
    "ignore_startup_parameters": "extra_float_digits",
    "admin_users": "postgres",
}


class PgBouncer:
    """PgBouncer on a private loopback port; any database of the server behind it, one pool each."""

    def __init__(self, server_port: int, *, settings: Mapping[str, str] | None = None) -> None:
        program = self._program()
        if program is None:
            raise ServerFailed("pgbouncer is not installed: apt-get install pgbouncer")
        self.port = free_port()
        self._daemon = Daemon("pgbouncer", pid_file="pgbouncer.pid", immediate=signal.SIGTERM)
        folder = self._daemon.folder
        users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text('"postgres" ""\n')
        files = {"auth_file": users, "pidfile": folder / "pgbouncer.pid"}
        options = {**_SETTINGS, "listen_port": self.port, **files, **(settings or {})}
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in options.items())
        )
        self._daemon.own(folder)
        try:
            self._daemon.spawn([program, str(configuration)])
            self._daemon.await_port(self.port)
        except BaseException:
            self._daemon.close()
            raise

    @classmethod
    def available(cls) -> bool:
        """Whether the machine has PgBouncer."""
        return cls._program() is not None

    @property
    def log(self) -> Path:
        """The log file of the pooler."""
        return self._daemon.log

    def through(self, url: str) -> str:
        """The same database, reached through the pooler."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.port}").geturl()

    def close(self) -> None:
        """End the pooler and remove its folder."""
        self._daemon.close()

    @staticmethod
    def _program() -> str | None:
        return shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin") or shutil.which("pgbouncer")
