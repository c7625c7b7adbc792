"""Workers leave the file to others: a pause after each write, as long as that write, and turns taken in order.

Writes back to back starve the application: SQLite's waiters sleep and retry, and a loop without pauses is always there
first. `flock` queues its waiters, so that all connections of all workers on one machine take turns; the pause is part
of a turn, or one connection would fill the pauses of another.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.db import forks

LONGEST_PAUSE = 0.25
_MOMENT = struct.Struct("d")
LONGEST_WAIT = 5.0
"""Seconds that a turn is waited for; beyond, its holder may stand still, and SQLite's own lock has the word."""


class Courtesy:
    """The manners of one connection of a worker. `share` is how long it pauses, in lengths of its writes."""

    def __init__(self, lock_file: Path, share: float = 1.0) -> None:
        self._path = lock_file
        self._share = share
        self._file: int | None = None
        self._pid = 0
        self._begun = self._free_at = 0.0
        self._place: _Place | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this connection's turn and for the pause after the last write, whoever made it; write inside."""
        file = self._open()
        mine = self._take(file)
        pause = self._pause_left(file)
        if pause > 0:
            time.sleep(pause)
        self._begun = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._free_at = ended + min((ended - self._begun) * self._share, LONGEST_PAUSE)
            if mine:
                os.pwrite(file, _MOMENT.pack(self._free_at), 0)
                fcntl.flock(file, fcntl.LOCK_UN)

    def begins(self) -> None:
        """The write begins now: SQLite's lock is taken. Waiting for it was the application's time, not ours."""
        self._begun = time.monotonic()

    def _pause_left(self, file: int) -> float:
        """The lock file says until when the others pause, on the clock that all processes of a machine share."""
        written = os.pread(file, _MOMENT.size, 0)
        free_at = _MOMENT.unpack(written)[0] if len(written) == _MOMENT.size else 0.0
        return min(max(free_at, self._free_at) - time.monotonic(), LONGEST_PAUSE)  # it may be from before a reboot

    def _take(self, file: int) -> bool:
        if self._place is None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                self._place = _Place(file)
        mine = self._place.wait(LONGEST_WAIT)
        if mine:
            self._place = None
        return mine

    def close(self) -> None:
        """Give the file back."""
        file, place = self._file, self._place
        self._file = self._place = None
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
