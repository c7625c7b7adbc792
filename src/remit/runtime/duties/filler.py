"""Goes on with a back-fill whose process was killed, or lost the database: in the leader.

An ordered subscription holds what is live until its back-fill has ended, so somebody has to end it.
"""

from __future__ import annotations

import asyncio
import time

from remit.db.transaction import Database
from remit.outbox import operations
from remit.outbox.filling import Backfill, wait_for_relays
from remit.outbox.model import Filling, Span
from remit.runtime.duties.leader import Leader, LeaderDuty
from remit.telemetry import Telemetry

LOOK = 5.0
"""Seconds between two looks for a back-fill that does not move."""
STALLED = 15.0
"""Seconds without a move after which a back-fill is taken over. One that goes on moves every few seconds."""


class Filler(LeaderDuty):
    """Watches the back-fills that go on, and takes over one that stands still, by this process's monotonic clock.

    That its owner lives after all does no harm: an event is delivered once, whoever fills.
    """

    name = "filler"

    def __init__(self, database: Database, leader: Leader, telemetry: Telemetry) -> None:
        super().__init__(database, leader, LOOK, telemetry)
        self._moved: dict[tuple[str, int], tuple[Span, float]] = {}
        self._current: Backfill | None = None

    def rest(self) -> None:
        self._moved, self._current = {}, None

    async def lead(self) -> float:
        if self._current is not None:
            return await self._go_on(self._current)
        found = await self.ask(operations.fillings)
        stalled = self._stalled_of(found)
        if stalled is None:
            return LOOK
        self._telemetry.fills(stalled.name)
        await wait_for_relays(self.ask, asyncio.sleep)
        self._current = Backfill(self.ask, stalled)
        return 0.0

    def _stalled_of(self, found: list[Filling]) -> Filling | None:
        now, before = time.monotonic(), self._moved
        self._moved = {}
        for filling in found:
            key = filling.subscription, filling.begun
            span, since = before.get(key, (None, now))
            self._moved[key] = filling.span, since if span == filling.span else now
        return next((one for one in found if now - self._moved[one.subscription, one.begun][1] >= STALLED), None)

    async def _go_on(self, backfill: Backfill) -> float:
        """Deliver one batch. Where it fails, the loop tries again; what was noted is not lost."""
        more = await backfill.step()
        for event in backfill.damaged:
            self._telemetry.not_filled(backfill.filling.name, event.name, event.id, event.reason)
        backfill.damaged.clear()
        if more and backfill.is_noted:
            rate = backfill.filling.rate
            return 0.0 if rate is None else backfill.batch / rate
        if not more:
            await backfill.end()
            self._telemetry.filled(backfill.filling.name, backfill.made)
        self._current = None
        return 0.0
