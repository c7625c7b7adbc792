"""Workers leave the file to others: a pause after each write as long as that write, and turns taken in order.

Writes back to back starve the application: SQLite's waiters sleep and retry, and a loop without pauses is always there
first. `flock` queues its waiters, so that workers on one machine take turns.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.db import forks

LONGEST_PAUSE = 0.25


class Courtesy:
    """The manners of one connection of a worker."""

    def __init__(self, lock_file: Path) -> None:
        self._path = lock_file
        self._file: int | None = None
        self._pid = 0
        self._free_at = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the pause to pass and for this worker's turn; write inside."""
        pause = self._free_at - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        file = self._open()
        fcntl.flock(file, fcntl.LOCK_EX)
        begun = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._free_at = ended + min(ended - begun, LONGEST_PAUSE)
            fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None and self._pid == os.getpid():
            forks.close(self._file)
        self._file = None

    def _open(self) -> int:
        if self._file is None or self._pid != os.getpid():  # a forked child has closed it
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._pid = os.getpid()
            forks.close_in_children(self._file)
        return self._file
