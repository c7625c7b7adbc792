"""Wakes a producer when any process commits to the file: `PRAGMA data_version`, read again and again while it sleeps.

The pragma costs about a microsecond and takes no lock. It counts every commit of other connections, the application's
too, so it may ring in vain. What costs is waking up to read it: the longer nothing happens, the less often it is read.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable

PACE = ((0.1, 0.0003), (1.0, 0.001), (10.0, 0.002), (float("inf"), 0.005))
"""(seconds without a commit, seconds between two looks): the second number holds until the first has passed."""
SLEEP = 1.0
"""Seconds that a sleep may last: the bound on what a missed commit would cost."""


class VersionBell:
    """Watches the file from a thread, on a connection of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], ring: Callable[[], None]) -> None:
        self._connect = connect
        self._ring = ring
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._armed = threading.Event()
        self._closed = False
        self._seen = -1
        self._changed_at = time.monotonic()
        self._lock = threading.Lock()

    async def settle(self) -> float:
        if self._thread is None:
            self._connection = self._connect()
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._watch, args=(loop,), name="remit-bell", daemon=True)
            self._thread.start()
        if not self._armed.is_set():
            self._seen = self._version()
            self._armed.set()
        return SLEEP

    async def rouse(self) -> None:
        self._armed.clear()

    async def close(self) -> None:
        self._closed = True
        self._armed.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._connection is not None:
            self._connection.close()

    def _version(self) -> int:
        assert self._connection is not None
        with self._lock:
            [version] = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _interval(self) -> float:
        quiet = time.monotonic() - self._changed_at
        return next(interval for until, interval in PACE if quiet < until)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._closed:
            self._armed.wait()
            try:
                changed = self._version() != self._seen
            except sqlite3.Error:
                changed = True
                time.sleep(SLEEP / 10)
            if not changed:
                time.sleep(self._interval())
                continue
            self._changed_at = time.monotonic()
            self._armed.clear()
            if not self._closed and not loop.is_closed():
                loop.call_soon_threadsafe(self._ring)
