"""A server process of our own: never run as root, stopped by its pid, gone when its parent is gone."""

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

# Reads a pipe whose other end only the parent holds: it ends when the parent closes it, or dies, however it dies.
# A restarted server has another pid, so the pid comes from the server's own file.
_GUARD = """
trap '' HUP INT TERM
cat >/dev/null
pid=$(head -n 1 "$1" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -s "$3" "$pid" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    grep -q "^State:.Z" "/proc/$pid/status" 2>/dev/null && break  # ended, and nobody waits for it
    sleep 0.05
  done
  kill -s KILL "$pid" 2>/dev/null
fi
rm -rf "$2"
"""


class ServerFailed(RuntimeError):
    """A server did not start or stop; the message holds the end of its log."""


def free_port() -> int:
    """Find a free loopback port outside the range from which outgoing connections take theirs."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise ServerFailed("no free loopback port between 20000 and 32000")


def reachable(path: Path) -> bool:
    """Say whether the account that servers run under may pass every folder down to `path`, and read it."""
    if os.geteuid() != 0:
        return os.access(path, os.R_OK | os.X_OK)
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.resolve().parents))


class Daemon:
    """One server program, its private folder and the guard that removes both.

    As root the program runs as `nobody`. The folder is removed by `close()`, and by the guard when this process ends
    without it, by a SIGKILL too.
    """

    def __init__(self, name: str, *, pid_file: str, immediate: Signals) -> None:
        self.name = name
        self._immediate = immediate
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        temporary = Path(tempfile.gettempdir())
        self.folder = Path(
            tempfile.mkdtemp(prefix=f"remit-{name}-", dir=temporary if reachable(temporary) else Path("/tmp"))
        )
        self.log = self.folder / f"{name}.log"
        self.log.touch()
        self.own(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = self._popen(
            [
                "sh",
                "-c",
                _GUARD,
                f"remit-{name}-guard",
                str(self.folder / pid_file),
                str(self.folder),
                immediate.name[3:],
            ],
            stdin=subprocess.PIPE,
            log=Path(os.devnull),
        )

    @property
    def pid(self) -> int:
        """The server's process id; an error when it does not run."""
        if not self.running:
            raise ServerFailed(f"{self.name} is not running")
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def run(self, command: Sequence[str]) -> None:
        """Run a program to its end, under the server's account and in its folder."""
        process = self._popen(command, stdin=subprocess.DEVNULL, log=self.log)
        if process.wait() != 0:
            raise self.failure(f"{command[0]} ended with {process.returncode}")

    def spawn(self, command: Sequence[str]) -> None:
        """Start the server program; whether it is ready is for the caller to find out."""
        if self.running:
            raise ServerFailed(f"{self.name} is running already")
        self._process = self._popen(command, stdin=subprocess.DEVNULL, log=self.log)

    def signal(self, number: Signals) -> None:
        """Send a signal to the server; none when it has ended."""
        if self.running:
            os.kill(self.pid, number)

    def stop(self, number: Signals, *, patience: float = 20.0) -> None:
        """Send `number`, wait for the end, and kill after `patience` seconds."""
        if self._process is None:
            return
        self.signal(number)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """End the server at once and remove the folder; returns when both are gone."""
        self.stop(self._immediate)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def await_port(self, port: int, *, patience: float = 20.0) -> None:
        """Wait until the server accepts connections, or say why it does not."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not self.running:
                raise self.failure("ended while it started")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.01)
        raise self.failure(f"is not ready after {patience:.0f} s")

    def failure(self, what: str) -> ServerFailed:
        """An error with the end of the server's log."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return ServerFailed(f"{self.name} {what}\n" + "\n".join(log.splitlines()[-20:]))

    def own(self, path: Path) -> None:
        """Give a file or a tree that this process wrote to the server's account."""
        if self._account is not None:
            for entry in (path, *path.rglob("*")):
                os.chown(entry, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def copy(self, *trees: Path) -> Path:
        """Copy folders of programs, beside each other, to where the server's account can reach them."""
        beside = self.folder / "programs"
        for tree in trees:
            shutil.copytree(tree, beside / tree.name, symlinks=True)
        self.own(beside)
        return beside

    def _popen(self, command: Sequence[str], *, stdin: int, log: Path) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment | {"LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests, not for their servers
                user=self._account.pw_uid if self._account else None,
                group=self._account.pw_gid if self._account else None,
                extra_groups=[] if self._account else None,
            )
