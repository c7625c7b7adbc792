"""Write pacing: connections that write much leave the file to others between their writes.

SQLite's waiters sleep for up to 100 ms and then retry, so writes back to back starve every other writer. Workers pause
after each write. Senders pause when they are not alone; a sender alone in a tight loop leaves one gap that no waiter
can miss before a writer elsewhere gives up, whose timeout is 5 s by default in Python.
"""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from remit.db.sqlite.turns import Turns

LONGEST_PAUSE = 0.25
SENDER_SHARE = 0.5
"""How long a sender pauses that is not alone, in lengths of its write, at a `write_pause` of 1."""
SPREE = 0.01
"""Seconds between two writes of one connection up to which they count as back to back."""
RETRY = 0.005
"""Seconds after which a sender that writes back to back asks for its turn again: one of several then makes a few writes
in a row, and hands over less often. Whatever writes now and then queues, and comes first."""
LOOK_EVERY = 0.02
"""Seconds between two looks at who else writes, while writes are back to back."""
REMEMBERED = 2.0
"""Seconds for which another writer, once seen, is expected to write again."""
GAP_EVERY = 4.0
GAP = 0.105
"""Seconds that a lone sender leaves the file alone, every `GAP_EVERY`: longer than SQLite's waiters sleep."""


class WritePacing(ABC):
    """When one connection may write."""

    _polls = False

    def __init__(self, turns: Turns, share: float) -> None:
        self._turns = turns
        self._share = share
        self._begun = self._ended = self._free_at = 0.0

    @contextmanager
    def turn(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Wait for this connection's turn and for the pause after the last write; write inside."""
        asked = time.monotonic()
        self._turns.take(RETRY if self._polls and asked - self._ended < SPREE else None)
        self._begun = asked
        try:
            pause = self._pause(connection, asked)
            if pause > 0:
                time.sleep(pause)
            self._begun = time.monotonic()
            yield
        finally:
            self._ended = time.monotonic()
            self._turns.give(self._paused_until(self._ended - self._begun))

    def locked(self) -> None:
        """SQLite's lock is taken: the write begins now. The time before it belonged to another writer."""
        self._begun = time.monotonic()

    def close(self) -> None:
        self._turns.close()

    @abstractmethod
    def _pause(self, connection: sqlite3.Connection, asked: float) -> float:
        """Seconds to pause before a write that was asked for at this time."""

    @abstractmethod
    def _paused_until(self, length: float) -> float | None:
        """The end of the pause after a write of so many seconds; None for no pause."""

    def _left(self) -> float:
        """What is left of the last pause, whichever connection made it. A time in the file may precede a reboot."""
        return min(max(self._turns.read(), self._free_at) - time.monotonic(), LONGEST_PAUSE)

    def _until(self, length: float) -> float:
        self._free_at = self._ended + min(length * self._share, LONGEST_PAUSE)
        return self._free_at


class WorkerPacing(WritePacing):
    """A worker pauses after each write, `share` times as long as it took. The workers of a machine pause as one."""

    def _pause(self, connection: sqlite3.Connection, asked: float) -> float:
        return self._left()

    def _paused_until(self, length: float) -> float | None:
        return self._until(length)


class SenderPacing(WritePacing):
    """A connection of the application: it pauses only while it writes back to back, and is not the only writer."""

    _polls = True
    _spree = _look_at = _shared_until = 0.0
    _version: int | None = None

    def _pause(self, connection: sqlite3.Connection, asked: float) -> float:
        if asked - self._ended > SPREE:
            self._spree, self._look_at, self._version = asked, asked + LOOK_EVERY, None
            return 0.0
        if self._turns.waited or self._another_wrote(connection, asked):
            self._shared_until = asked + REMEMBERED
        if self._is_shared():
            return self._left()
        if asked - self._spree < GAP_EVERY:
            return 0.0
        self._spree = asked + GAP
        return GAP

    def _paused_until(self, length: float) -> float | None:
        return self._until(length) if self._is_shared() else None

    def _is_shared(self) -> bool:
        return self._ended < self._shared_until

    def _another_wrote(self, connection: sqlite3.Connection, now: float) -> bool:
        """Whether another connection has committed since the last look. SQLite does not count our own commits."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY
        [version] = connection.execute("PRAGMA data_version").fetchone()
        last, self._version = self._version, version
        return last not in (None, version)
