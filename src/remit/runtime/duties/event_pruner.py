"""Removes events when their time is over: on a timer, in small batches, in the leader."""

from __future__ import annotations

import asyncio

from remit.catalog import LogRetention
from remit.db.transaction import Database
from remit.outbox import operations
from remit.runtime.duties.leader import Leader, LeaderDuty
from remit.telemetry import Telemetry

BATCH = 500
BETWEEN_BATCHES = 0.02
"""Seconds left to others between two batches."""
AGAIN = 600.0
"""Seconds until an event is looked at again whose deliveries have not all ended."""


class EventPruner(LeaderDuty):
    """An event stays until its last delivery has ended, and for its time since."""

    name = "event-pruner"

    def __init__(
        self, database: Database, leader: Leader, retention: LogRetention, interval: float, telemetry: Telemetry
    ) -> None:
        super().__init__(database, leader, interval, telemetry)
        self._retention = retention

    async def lead(self) -> float:
        keep, archive, archived_for = self._retention.keep, self._retention.archive, self._retention.archived_for
        total, seen = 0, BATCH
        while seen == BATCH and self._leader.leading:
            seen, gone = await self.ask(
                lambda tx: operations.purge_events(tx, keep=keep, archive=archive, again=AGAIN, limit=BATCH)
            )
            total += gone
            await asyncio.sleep(BETWEEN_BATCHES)
        removed = BATCH
        while archived_for is not None and removed == BATCH and self._leader.leading:
            removed = await self.ask(lambda tx: operations.purge_archive(tx, age=archived_for, limit=BATCH))
            await asyncio.sleep(BETWEEN_BATCHES)
        if total:
            self._telemetry.purged(total)
        return self._interval
