"""Removes ended jobs when their time is over: on a timer, in small batches, in the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from remit.catalog import Retention
from remit.db.transaction import Database, Work
from remit.jobs import operations
from remit.runtime.duties.leader import Leader, LeaderDuty
from remit.telemetry import Telemetry

BATCH = 500
BETWEEN_BATCHES = 0.02
"""Seconds left to others between two batches."""


class JobPruner(LeaderDuty):
    """By age and by count, per queue; a queue that is declared no more falls under the application's own rule."""

    name = "job-pruner"

    def __init__(
        self,
        database: Database,
        leader: Leader,
        retentions: Mapping[str, Retention],
        otherwise: Retention,
        interval: float,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, leader, interval, telemetry)
        self._retentions = retentions
        self._otherwise = otherwise

    async def lead(self) -> float:
        removed = await self._drain(lambda tx: operations.prune_kept(tx, limit=BATCH))
        for queue in await self.ask(operations.final_queues):
            removed += await self._prune(queue, self._retentions.get(queue, self._otherwise))
        if removed:
            self._telemetry.pruned(removed)
        return self._interval

    async def _prune(self, queue: str, keep: Retention) -> int:
        removed = 0
        for age, dead in ((keep.age, False), (keep.dead_age, True)):
            if age is not None:
                removed += await self._drain(_prune(queue, age, dead))
        if keep.count is not None:
            count = keep.count
            removed += await self._drain(lambda tx: operations.prune_beyond(tx, queue=queue, count=count, limit=BATCH))
        return removed

    async def _drain(self, work: Work[int]) -> int:
        total = 0
        while self._leader.leading:
            removed = await self.ask(work)
            total += removed
            if removed < BATCH:
                break
            await asyncio.sleep(BETWEEN_BATCHES)
        return total


def _prune(queue: str, age: float, dead: bool) -> Work[int]:
    return lambda tx: operations.prune(tx, queue=queue, age=age, dead=dead, limit=BATCH)
