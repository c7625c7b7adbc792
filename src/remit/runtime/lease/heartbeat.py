"""Keeps the worker's lease, watches the others' and the event loop, from threads of its own.

One thread beats; it does not depend on the event loop, so a handler that blocks the loop costs no lease. Another, which
waits for nothing, watches both: a blocked loop is told, with its stack, and a lease that runs out ends this incarnation
before anybody else may take its jobs. The lease is counted from the moment at which the last good beat was *sent*, on
this process's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from typing import Any

from remit.db.store import Liveness
from remit.errors import RemitError
from remit.runtime.lease.observer import Observer
from remit.telemetry import Telemetry

BEATS_PER_LEASE = 5
BLOCKED_AFTER = 1.0
LOOK = 0.25
"""Seconds between two looks at the event loop."""


class Heartbeat:
    """The threads. `lost` is called on the loop when the lease is gone; `health` is what the worker says of itself."""

    def __init__(
        self,
        liveness: Liveness,
        lease: float,
        telemetry: Telemetry,
        *,
        lost: Callable[[str], None],
        health: Callable[[], dict[str, Any]],
        on_loop: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._liveness = liveness
        self._clock = clock
        self._lease = lease
        self._interval = lease / BEATS_PER_LEASE
        self._telemetry = telemetry
        self._lost = lost
        self._health = health
        self._on_loop = on_loop
        self._observer = Observer(lease)
        self._lock = threading.Lock()
        self._silent: list[tuple[str, int]] = []
        self._stopping = threading.Event()
        self._good = clock()
        self._failing_since: float | None = None
        self._fenced = False
        self._ticked = True
        self._asked = 0.0
        self._reported_blocked = False
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beats = threading.Thread(target=self._run, name="remit-heartbeat", daemon=True)
        self._watch = threading.Thread(target=self._run_watch, name="remit-watch", daemon=True)

    def start(self) -> None:
        self._beats.start()
        self._watch.start()

    async def stop(self) -> None:
        self._stopping.set()
        if self._beats.ident is None:
            self._liveness.close()  # it never began
            return
        for thread in (self._beats, self._watch):
            await asyncio.to_thread(thread.join, 10.0)

    def silent(self) -> list[tuple[str, int]]:
        """(worker, counter) of workers that may be declared dead."""
        with self._lock:
            return list(self._silent)

    def sweep(self, registered: Collection[str]) -> None:
        """Remove what dead workers left; these are registered."""
        self._liveness.sweep(registered)

    @property
    def failing(self) -> str | None:
        since = self._failing_since
        return None if since is None else f"no beat for {self._clock() - since:.0f} s"

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and not self._fenced:
                begun = self._clock()
                self.beat()
                self._stopping.wait(max(0.0, begun + self._interval - self._clock()))
        finally:
            self._liveness.close()

    def _run_watch(self) -> None:
        while not self._stopping.wait(min(LOOK, self._interval / 4)) and not self._fenced:
            if not self.check():
                self._watch_loop()

    def check(self) -> bool:
        """Fence the worker, an interval before others may declare it dead, if no beat got through; whether it did."""
        silence = self._clock() - self._good
        if silence > self._lease - self._interval:
            self._fence(f"no beat reached the database for {silence:.1f} s")
            return True
        return False

    def beat(self) -> None:
        """Move our own counter, and read the others'. What counts for us is when the beat was sent."""
        sent = self._clock()
        if self._fenced or sent - self._good > self._lease - self._interval:
            return  # too late: the watch ends this incarnation
        try:
            if not self._liveness.beat(json.dumps(self._health(), sort_keys=True)):
                self._fence("its registration is gone: another worker declared it dead")
                return
            self._good = sent
            counters = self._liveness.observe()
            with self._lock:
                # A counter may have moved until the reply, and has not moved after it until the next question is sent.
                self._observer.see(counters, self._clock())
                self._silent = [
                    (worker, count)
                    for worker, count in self._observer.silent(sent)
                    if not self._liveness.may_be_alive(worker)
                ]
        except RemitError as error:
            self._failed(error, sent)
            return
        if self._failing_since is not None:
            self._telemetry.healed("heartbeat", sent - self._failing_since)
            self._failing_since = None

    def _failed(self, error: RemitError, sent: float) -> None:
        if self._failing_since is None:
            self._failing_since = sent
            self._telemetry.trouble("heartbeat", error)
        with self._lock:
            self._observer.skip(self._clock() - sent + self._interval)
            self._silent = []

    def _fence(self, why: str) -> None:
        with self._lock:
            first, self._fenced = not self._fenced, True
        if first:
            self._on_loop_soon(lambda: self._lost(why))

    # --- the event loop

    def _watch_loop(self) -> None:
        now = self._clock()
        if self._ticked:
            self._ticked, self._reported_blocked, self._asked = False, False, now
            self._on_loop_soon(self._tick)
        elif now - self._asked > BLOCKED_AFTER and not self._reported_blocked:
            self._reported_blocked = True
            frame = sys._current_frames().get(self._loop_thread)
            stack = "".join(traceback.format_stack(frame, limit=30)) if frame else "(no stack)"
            self._telemetry.blocked(now - self._asked, self._on_loop(), stack)

    def _tick(self) -> None:
        self._ticked = True

    def _on_loop_soon(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop is closed: there is nobody to tell
