"""Proof of life between workers: a counter that moves, and what tells that it never will again.

Everything here blocks: it is called from the heartbeat's own thread. Where machines share the store, the counter stands
in the worker's row. On one machine it stands in a file beside the database, because the application's own long write
transaction must not cost a lease; and the worker holds a lock on that file, which the system frees when the process
ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from remit.db import forks
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Role
from remit.errors import StoreError
from remit.runtime import operations


class Pulse(Protocol):
    """How a worker shows that it lives, and sees who else does."""

    def beat(self, health: str) -> bool:
        """Show life; False when the registration is gone, which ends that incarnation. `health` is JSON."""
        ...

    def observe(self) -> dict[str, int]:
        """The counter of every registered worker."""
        ...

    def may_be_alive(self, worker: str) -> bool:
        """Whether something speaks for a worker whose counter stands still."""
        ...

    def close(self) -> None: ...


def pulse_of(store: Store, worker: str) -> Pulse:
    """The pulse of a worker, in the way that its store allows."""
    database = store.blocking(Role.HEARTBEAT)
    if store.sidecar is None:
        return RowPulse(database, worker)
    return FilePulse(store.sidecar, database, worker)


class RowPulse:
    """The counter in the worker's row, on a connection that waits for nobody."""

    def __init__(self, database: BlockingDatabase, worker: str) -> None:
        self._database = database
        self._worker = worker

    def beat(self, health: str) -> bool:
        return self._database.run(lambda tx: operations.beat(tx, self._worker, health=health), atomic=False)

    def observe(self) -> dict[str, int]:
        return self._database.run(operations.beats, atomic=False)

    def may_be_alive(self, worker: str) -> bool:
        return False

    def close(self) -> None:
        self._database.close()


class FilePulse:
    """The counter in a file of the worker's own, locked for as long as its process lives.

    A free lock proves a death only within the same boot and for the same file; a stopped process keeps its lock, so its
    jobs wait for it. Children close the lock at once: a forked one would keep a killed worker alive.
    """

    def __init__(self, folder: Path, database: BlockingDatabase, worker: str) -> None:
        self._folder = folder / "workers"
        self._database = database
        self._worker = worker
        self._count = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / worker
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # an observer that looks at it now lets go at once
        self._write()
        forks.close_in_children(self._file)

    def _write(self) -> None:
        os.pwrite(self._file, f"{self._count:020d} {boot_id()}\n".encode(), 0)

    def beat(self, health: str) -> bool:
        registered = self._worker in self.observe()
        self._count += 1
        self._write()
        if registered:
            try:  # for people; a writer may be at work, and then the next beat will do
                self._database.run(lambda tx: operations.beat(tx, self._worker, health=health), atomic=False)
            except StoreError:
                pass
        return registered

    def observe(self) -> dict[str, int]:
        registered = self._database.run(operations.beats, atomic=False)
        return {worker: self._read(worker)[0] for worker in registered}

    def _read(self, worker: str) -> tuple[int, str]:
        try:
            count, _, boot = (self._folder / worker).read_text().strip().partition(" ")
            return int(count), boot
        except (OSError, ValueError):
            return -1, ""

    def may_be_alive(self, worker: str) -> bool:
        _, boot = self._read(worker)
        if boot != boot_id():
            return False  # the machine has started again since
        return _is_locked(self._folder / worker)

    def close(self) -> None:
        forks.close(self._file)
        self._path.unlink(missing_ok=True)
        self._database.close()


def sweep_files(folder: Path, registered: set[str]) -> None:
    """Remove the files of workers that are registered no more and hold no lock."""
    for path in (folder / "workers").glob("*"):
        if path.name not in registered and not _is_locked(path):
            path.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    with _closing(file):
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def _closing(file: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(file)


def boot_id() -> str:
    """What tells one boot of this machine from the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
