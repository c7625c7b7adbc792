"""Wakes a producer when any process commits to the file: `PRAGMA data_version`, read again and again while it sleeps.

The pragma costs about a microsecond and takes no lock. It counts every commit of other connections, the application's
too, so it may notify in vain. What costs is waking up to read it. Where the system tells that somebody writes to the
write-ahead log, which every commit does before it is seen, it is read often from then on, and rarely else; where the
system tells nothing, it is read less often the longer nothing happens.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from remit.db import fallbacks
from remit.db.sqlite.inotify import Inotify
from remit.db.store import ANYTHING, Notify

PACE = ((0.1, 0.0003), (1.0, 0.001), (10.0, 0.002), (float("inf"), 0.005))
"""(seconds without a commit, seconds between two looks): the second number holds until the first has passed."""
HEARING_PACE = ((0.002, 0.00003), (0.02, 0.0003), (float("inf"), 0.01))
"""The same where writes are heard, by seconds without one: a commit is seen as soon as the disk has it. To so short a
pause the system adds a twentieth of a millisecond. In silence too it is read, in case a write was not heard."""
REST = 0.0003
"""Seconds before the first look of a sleep: now the producer looks itself, and they would be in each other's way."""
AFTER_AN_ERROR = 0.1
"""Seconds before the next look when the file could not be read."""


class VersionWakeup:
    """Watches the file from a thread, on a connection of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], log: Path, notify: Notify) -> None:
        """`log` is the file's write-ahead log."""
        self._connect = connect
        self._log = log
        self._notify = notify
        self._connection: sqlite3.Connection | None = None
        self._inotify: Inotify | None = None
        self._thread: threading.Thread | None = None
        self._armed = threading.Event()
        self._closed = False
        self._seen: int | None = None
        """The version as of the last notification; None if the producer has been busy since, and much was committed."""
        self._sign_at = time.monotonic()
        """When a commit was last seen, or a write heard."""
        self._lock = threading.Lock()

    async def arm(self) -> float:
        if self._thread is None:
            self._connection = self._connect()
            self._seen = self._version()  # from now on there is a log
            with suppress(OSError):
                self._inotify = Inotify(self._log)
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._watch, args=(loop,), name="remit-wakeup", daemon=True)
            self._thread.start()
        if not self._armed.is_set():
            if self._seen is None:
                self._seen = self._version()
            self._armed.set()
        return fallbacks.WAKEUP

    async def disarm(self) -> None:
        self._armed.clear()
        self._seen = None

    async def close(self) -> None:
        self._closed = True
        self._armed.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._inotify is not None:
            self._inotify.close()
        if self._connection is not None:
            self._connection.close()

    def _version(self) -> int:
        assert self._connection is not None
        with self._lock:
            [version] = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._closed:
            if not self._armed.is_set():
                self._armed.wait()
                time.sleep(REST)
            elif not self._changed():
                self._pause()
            elif self._armed.is_set() and not self._closed and not loop.is_closed():
                self._armed.clear()
                loop.call_soon_threadsafe(self._notify, ANYTHING)

    def _changed(self) -> bool:
        try:
            version = self._version()
        except sqlite3.Error:
            time.sleep(AFTER_AN_ERROR)
            return True
        if version == self._seen:
            return False
        # A part looks after it has armed it, so it may know this version already; a later one would be missed.
        self._seen = version
        self._sign_at = time.monotonic()
        return True

    def _pause(self) -> None:
        quiet = time.monotonic() - self._sign_at
        pace = PACE if self._inotify is None else HEARING_PACE
        interval = next(interval for until, interval in pace if quiet < until)
        if self._inotify is None:
            time.sleep(interval)
        elif self._inotify.wait(interval):
            self._sign_at = time.monotonic()
