"""Advances the lanes of ordered subscriptions when a delivery has ended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable

from remit.db import fallbacks
from remit.db.transaction import Database, Role
from remit.outbox import operations
from remit.outbox.model import Lane
from remit.runtime.loop import StoreLoop
from remit.telemetry import Telemetry

BATCH = 200
"""Lanes that one statement advances or looks at."""

_FIRST: Lane = ("00000000-0000-0000-0000-000000000000", -(2**63))


class Sequencer(StoreLoop):
    """Woken when a delivery ends in this process; sweeps through all lanes for those that end elsewhere.

    It calls `released` when there are jobs to claim.
    """

    name = "sequencer"
    role = Role.RELAY
    shares_connection = False

    def __init__(self, database: Database, released: Callable[[], None], telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._released = released
        self._waiting: set[Lane] = set()
        self._any = False
        self._swept: Lane = _FIRST
        self._sweep_at = 0.0

    def advance(self, lanes: Iterable[Lane]) -> None:
        """Something has happened in these lanes: the first delivery has ended, or a new one has come."""
        self._waiting.update(lanes)
        self.wake()

    def advance_any(self) -> None:
        """A delivery may have ended in a lane that is not known: look through all lanes now."""
        self._any = True
        self.wake()

    async def turn(self) -> float:
        if self._waiting:
            lanes = set(itertools.islice(self._waiting, BATCH))
            self._waiting -= lanes  # before the answer: one that is reported meanwhile is asked for again
            try:
                await self._release(lanes)
            except BaseException:
                self._waiting |= lanes
                raise
        if self._any or time.monotonic() >= self._sweep_at:
            await self._sweep()
        return 0.0 if self._waiting or self._any else max(0.001, self._sweep_at - time.monotonic())

    async def _release(self, lanes: Collection[Lane]) -> None:
        sent, _ = await self.ask(lambda tx: operations.release(tx, lanes))
        if sent:
            self._released()

    async def _sweep(self) -> None:
        if self._swept == _FIRST:
            self._any = False  # asked for from now on, it takes another sweep, from the first lane on
        page = await self.ask(lambda tx: operations.lanes(tx, after=self._swept, limit=BATCH))
        movable = [lane for lane, can_move in page if can_move]
        if movable:
            await self._release(movable)
        is_last = len(page) < BATCH
        self._swept = _FIRST if is_last else page[-1][0]
        self._sweep_at = time.monotonic() + fallbacks.SEQUENCER if is_last else 0.0
