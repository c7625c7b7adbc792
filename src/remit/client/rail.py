"""The direct rail: events that are buffered in this process, and written together a moment later."""

from __future__ import annotations

import asyncio
import atexit
import math
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from remit.catalog import Rail
from remit.db import forks
from remit.db.transaction import BlockingDatabase
from remit.errors import IdTaken, RemitError, StoreBusy, StoreError, StoreUnavailable
from remit.jobs import operations as jobs
from remit.outbox import operations as outbox
from remit.telemetry import Telemetry

_Row: TypeAlias = dict[str, Any]
_Parcel: TypeAlias = tuple[_Row, int]
"""An event, ready to be written, and the bytes of its payload."""

IDLE: Final = 10.0
"""Seconds without an event after which the thread ends, with its connection."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 2.0
"""Seconds between two tries while the store takes nothing."""
LARGEST_STATEMENT: Final = 8 * 2**20
"""Bytes of payload in one statement, unless one event has more."""


@dataclass(slots=True)
class _Flush:
    """Somebody who waits until so many events are written, and is told of the first try that fails, from `first` on."""

    target: int
    first: float
    done: Future[None]
    refused: RemitError | None = None


class DirectRail:
    """A buffer, and the thread that empties it.

    Events leave in the order in which they came. A batch that could not be written is tried again before anything
    later; all its events have their ids, so a try whose answer was lost does no harm. Whoever comes while the buffer
    is full waits in a queue, so nobody is overtaken. The thread starts with the first event, and has a connection of
    its own, on which a commit is as durable as any; while there are events, it lives.
    """

    def __init__(self, open: Callable[[], BlockingDatabase], settings: Rail) -> None:
        self._open = open
        self._capacity, self._capacity_bytes, self._size = settings.capacity, settings.capacity_bytes, settings.batch
        self._linger, self._max_wait = cast("float", settings.linger), cast("float", settings.max_wait)
        self.telemetry = Telemetry()
        self.forked()
        _rails.add(self)
        forks.in_children(self)

    def forked(self) -> None:
        """Begin empty: what a forked child has is a copy, and the parent writes it."""
        self._wake = threading.Condition(threading.Lock())  # guards all that follows
        self._thread: threading.Thread | None = None
        self._ending = False
        self._waiting: deque[_Parcel] = deque()
        self._batch: list[_Parcel] = []
        self._queue: deque[tuple[_Parcel, Future[None]]] = deque()
        self._flushes: list[_Flush] = []
        self._taken = self._gone = self._bytes = self._tries = 0
        self._due = self._again_at = self._failing_since = 0.0
        self._trouble: Exception | None = None

    @property
    def in_use(self) -> bool:
        """Whether it has events, or had some a moment ago."""
        return self._thread is not None

    @property
    def taken(self) -> int:
        """How many events it has taken, ever."""
        return self._taken

    # --- taking

    async def put(self, event: _Row) -> None:
        """Take an event, waiting while the buffer is full. Raises `StoreBusy` after `max_wait`."""
        if (room := self._take(event)) is None:
            return
        try:
            async with asyncio.timeout(None if self._max_wait == math.inf else self._max_wait):
                await asyncio.wrap_future(room)
        except TimeoutError:
            self._left(room)
        except BaseException:
            room.cancel()
            raise

    def put_blocking(self, event: _Row) -> None:
        """Do the same without an event loop."""
        if (room := self._take(event)) is None:
            return
        try:
            room.result(None if self._max_wait == math.inf else self._max_wait)
        except TimeoutError:
            self._left(room)
        except BaseException:
            room.cancel()
            raise

    def _take(self, event: _Row) -> Future[None] | None:
        """Take an event at once, or give what tells when it is taken."""
        payload: str = event["payload"]
        parcel = (event, len(payload) if payload.isascii() else len(payload.encode()))
        with self._wake:
            if self._thread is None:
                self._start()
            if not self._queue and self._has_room(parcel):
                self._append(parcel)
                return None
            room: Future[None] = Future()
            self._queue.append((parcel, room))
            self._wake.notify_all()  # full: nobody waits for time
            return room

    def _left(self, room: Future[None]) -> None:
        if room.cancel():  # else it was taken just now
            why = f": {self._trouble}" if self._trouble else ""
            raise StoreBusy(
                f"the direct rail has been full for {self._max_wait:g} s, and this event was not taken{why}"
            ) from self._trouble

    def _has_room(self, parcel: _Parcel) -> bool:
        held = self._taken - self._gone
        return not held or (held < self._capacity and self._bytes + parcel[1] <= self._capacity_bytes)

    def _append(self, parcel: _Parcel) -> None:
        if not self._waiting:
            self._due = time.monotonic() + self._linger
        self._waiting.append(parcel)
        self._taken += 1
        self._bytes += parcel[1]
        if len(self._waiting) in {1, self._size}:  # the thread waits for the first, and for a full batch
            self._wake.notify_all()

    def _admit(self) -> None:
        """Take those who wait, in order, for as long as there is room."""
        while self._queue and self._has_room(self._queue[0][0]):
            parcel, room = self._queue.popleft()
            if room.set_running_or_notify_cancel():
                self._append(parcel)
                room.set_result(None)

    # --- flushing

    async def flush(self) -> None:
        """Wait until everything that was taken before is written. Raises `StoreError` or `IdTaken` if that fails."""
        await asyncio.wrap_future(self._flush())

    def flush_blocking(self) -> None:
        """Do the same without an event loop."""
        self._flush().result()

    def _flush(self, first: float | None = None) -> Future[None]:
        done: Future[None] = Future()
        with self._wake:
            if self._taken == self._gone:
                done.set_result(None)
            else:
                self._flushes.append(_Flush(self._taken, self._tries + 1 if first is None else first, done))
                self._wake.notify_all()
        return done

    async def close(self) -> None:
        """Write what is left, and end; what the store does not take in time is lost, and logged."""
        if self.in_use:
            await asyncio.to_thread(self.close_blocking)

    def close_blocking(self) -> None:
        """Do the same without an event loop. The next event begins anew."""
        begun, thread = time.monotonic(), self._thread
        if thread is None:
            return
        target, written = self._taken, self._flush(math.inf)
        try:
            written.result(None if self._max_wait == math.inf else self._max_wait)
        except TimeoutError:
            self._give_up(target, time.monotonic() - begun)
        except (StoreError, IdTaken):
            pass  # it refused some, which is logged
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        thread.join(1.0)  # it closes its connection

    def _give_up(self, target: int, seconds: float) -> None:
        """Forget what was taken until then; whether the last try has written its batch is not known."""
        closed = StoreUnavailable("the application was closed before the store took what is on the direct rail")
        with self._wake:
            parcels, self._batch = [*self._batch, *self._waiting], []
            lost, kept = parcels[: target - self._gone], parcels[target - self._gone :]
            self._waiting = deque(kept)
            self._gone = target
            self._bytes -= sum(size for _, size in lost)
            queue, self._queue = self._queue, deque()
            for _, room in queue:
                _resolve(room, closed)
            self._answer(closed)
        if lost:
            self.telemetry.rail_lost(Counter(event["name"] for event, _ in lost), seconds)

    def _answer(self, error: RemitError | None = None) -> None:
        """Tell those who wait for what is gone now."""
        for flush in [each for each in self._flushes if each.target <= self._gone]:
            self._flushes.remove(flush)
            _resolve(flush.done, error or flush.refused)

    # --- writing

    def _start(self) -> None:
        thread = threading.Thread(target=Context().run, args=(self._serve,), name="remit-rail", daemon=True)
        thread.start()
        self._thread, self._ending = thread, False

    def _serve(self) -> None:
        database: BlockingDatabase | None = None
        identity = ""
        while batch := self._next():
            try:
                if database is None:
                    database = self._open()
                identity = identity or database.run(jobs.store, atomic=False)
                refused = self._write(database, identity, [event for event, _ in batch])
                if len(refused) == len(batch) and not any(isinstance(error, IdTaken) for _, error in refused):
                    raise refused[0][1]  # it is the store
            except Exception as error:
                identity = ""
                self._failed(error)
            else:
                self._written(batch, refused)
        if database is not None:
            database.close()

    def _next(self) -> list[_Parcel]:
        """Wait until a batch is due, and give it; an empty one when the thread is to end."""
        with self._wake:
            idle_until = time.monotonic() + IDLE
            while True:
                now = time.monotonic()
                if not self._batch and not self._waiting:
                    if self._ending or now >= idle_until:
                        self._thread = None
                        return []
                    self._wake.wait(idle_until - now)
                elif (due := self._is_due()) > now:
                    self._wake.wait(due - now)
                else:
                    break
            if not self._batch:
                self._load(now)
            self._tries += 1
            return self._batch

    def _is_due(self) -> float:
        if self._batch:  # it failed; only who waits for a try of its own gets one before its time
            return 0.0 if any(flush.first < math.inf for flush in self._flushes) else self._again_at
        return 0.0 if self._flushes or self._queue or len(self._waiting) >= self._size else self._due

    def _load(self, now: float) -> None:
        size = 0
        self._batch = []
        while self._waiting and len(self._batch) < self._size:
            size += self._waiting[0][1]
            if self._batch and size > LARGEST_STATEMENT:
                break
            self._batch.append(self._waiting.popleft())
        self._due = now  # what is left has waited

    def _write(
        self, database: BlockingDatabase, identity: str, events: Sequence[_Row]
    ) -> list[tuple[_Row, RemitError]]:
        """Write events in order; answers those that the store refuses, found by halves. Raises what ails the store."""
        try:
            database.run(lambda tx: outbox.publish(tx, events, store=identity), atomic=False)
            return []
        except (StoreError, IdTaken) as error:
            if type(error) not in (StoreError, IdTaken):  # away, busy, not migrated
                raise
            if len(events) == 1:
                return [(events[0], error)]
        middle = len(events) // 2
        first = self._write(database, identity, events[:middle])
        return first + self._write(database, identity, events[middle:])

    def _failed(self, error: Exception) -> None:
        word = error if isinstance(error, StoreError) else StoreError(f"the direct rail cannot write: {error}")
        with self._wake:
            now = time.monotonic()
            first, self._trouble = self._trouble is None, error
            if first:
                self._failing_since = now
            pause = min(max(FIRST_PAUSE, now - self._failing_since), LAST_PAUSE)
            self._again_at = now + pause
            for flush in [each for each in self._flushes if each.first <= self._tries]:
                self._flushes.remove(flush)
                _resolve(flush.done, word)
        if first and isinstance(error, RemitError):
            self.telemetry.trouble("the direct rail", error)
        elif first:
            self.telemetry.crashed("the direct rail", error)

    def _written(self, batch: list[_Parcel], refused: list[tuple[_Row, RemitError]]) -> None:
        for event, error in refused:
            self.telemetry.rail_refused(event["name"], event["id"], error)
        with self._wake:
            healed, self._trouble = self._trouble is not None, None
            if batch is self._batch:  # else it was given up meanwhile
                self._batch = []
                self._gone += len(batch)
                self._bytes -= sum(size for _, size in batch)
                for flush in self._flushes if refused else ():
                    flush.refused = refused[0][1]
                self._answer()
                self._admit()
        if healed:
            self.telemetry.healed("the direct rail", time.monotonic() - self._failing_since)


def _resolve(future: Future[None], error: RemitError | None) -> None:
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


_rails: weakref.WeakSet[DirectRail] = weakref.WeakSet()


def _close_all() -> None:
    """At the end of the interpreter: for applications that were never closed."""
    for rail in list(_rails):
        rail.close_blocking()


atexit.register(_close_all)
