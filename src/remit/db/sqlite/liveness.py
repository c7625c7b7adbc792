"""Proof of life on one machine: a counter in a file beside the database, and a lock on that file.

The counter does not stand in the worker's row, because the application's own long write transaction must not cost a
lease. The system frees the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.db import forks
from remit.db.store import Beat, Counters
from remit.db.transaction import BlockingDatabase
from remit.errors import StoreError


class FileLiveness:
    """The counter in a file of the worker's own, locked for as long as its process lives.

    A free lock proves a death only within the same boot and for the same file; a stopped process keeps its lock, so its
    jobs wait for it. Children close the lock at once: a forked one would keep a killed worker alive.
    """

    def __init__(
        self,
        folder: Path,
        worker: str,
        database: BlockingDatabase,
        beat: Beat,
        counters: Counters,
    ) -> None:
        self._folder = folder / "workers"
        self._worker = worker
        self._database = database
        self._beat = beat
        self._counters = counters
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
                self._database.run(self._beat(health), atomic=False)
            except StoreError:
                pass
        return registered

    def observe(self) -> dict[str, int]:
        registered = self._database.run(self._counters, atomic=False)
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

    def sweep(self, registered: Collection[str]) -> None:
        """Remove the files of workers that are registered no more and hold no lock."""
        for path in self._folder.glob("*"):
            if path.name not in registered and not _is_locked(path):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        forks.close(self._file)
        self._path.unlink(missing_ok=True)
        self._database.close()


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
    """Identifies the present boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
