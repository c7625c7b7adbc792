"""Writers take turns: a queue in a lock file, for all processes of one machine.

SQLite's own waiters sleep and retry, so a loop without pauses is always there first. `flock` queues its waiters.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path

from remit.db import forks

LONGEST_WAIT = 5.0
"""Seconds that a turn is waited for. Beyond that its holder may be stopped, and SQLite's own lock decides."""
_TIME = struct.Struct("d")


class Turns:
    """One connection's access to the queue. The file holds a time by the clock that a machine's processes share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._pid = 0
        self._place: _Place | None = None
        self._mine = False
        self.waited = False
        """Whether another connection had the turn when it was last asked for."""

    def take(self, retry: float | None = None) -> None:
        """Wait for this connection's turn, for `LONGEST_WAIT` at most: in the queue, or by a retry after so many
        seconds, which costs no thread.
        """
        file = self._open()
        self.waited = not self._try(file)
        if self.waited and retry is not None and self._place is None:
            end = time.monotonic() + LONGEST_WAIT
            while not self._try(file) and time.monotonic() < end:
                time.sleep(retry)
        elif self.waited:
            self._place = self._place or _Place(file)
            if self._place.wait(LONGEST_WAIT):
                self._mine, self._place = True, None

    def _try(self, file: int) -> bool:
        if self._place is None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._mine = True
            except BlockingIOError:
                pass
        return self._mine

    def read(self) -> float:
        """The time in the file, or 0."""
        written = os.pread(self._open(), _TIME.size, 0)
        return float(_TIME.unpack(written)[0]) if len(written) == _TIME.size else 0.0

    def give(self, note: float | None = None) -> None:
        """End the turn; leave this time in the file."""
        if self._mine and self._file is not None:
            self._mine = False
            if note is not None:
                os.pwrite(self._file, _TIME.pack(note), 0)
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back."""
        file, place = self._file, self._place
        self._file = self._place = None
        self._mine = False
        if file is None or self._pid != os.getpid():
            return
        if place is None:
            forks.close(file)
        else:
            place.leave()  # its thread has the file, and closes it

    def _open(self) -> int:
        if self._file is None or self._pid != os.getpid():  # a forked child has closed it
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._pid = os.getpid()
            self._place = None
            self._mine = False
            forks.close_in_children(self._file)
        return self._file


class _Place:
    """A place in the queue that `flock` keeps, taken by a thread: the call itself knows no time limit."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._wanted = True
        self._reached = False
        self._left = False
        threading.Thread(target=self._stand, name="remit-turn", daemon=True).start()

    def _stand(self) -> None:
        while True:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._changed:
                if self._left:
                    forks.close(self._file)
                    return
                if self._wanted:
                    self._reached = True
                    self._changed.notify()
                    return
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._changed.wait_for(lambda: self._wanted or self._left)

    def wait(self, seconds: float) -> bool:
        """Wait until it is our turn; when that takes too long the place is kept for the next time."""
        with self._changed:
            self._wanted = True
            self._changed.notify()
            self._changed.wait_for(lambda: self._reached, seconds)
            self._wanted = False
            return self._reached

    def leave(self) -> None:
        """Give up the place, and the file."""
        with self._changed:
            self._left = True
            self._changed.notify()
