"""Frees the jobs of workers that are gone: by liveness, never by age."""

from __future__ import annotations

from collections.abc import Callable

from remit.db.transaction import Database
from remit.execution import operations as execution
from remit.jobs.ids import new_token
from remit.runtime import operations
from remit.runtime.duties.leader import Leader, LeaderDuty
from remit.runtime.lease.heartbeat import Heartbeat
from remit.runtime.path.settlement import Settlement
from remit.telemetry import Telemetry

BATCH = 500


class Rescuer(LeaderDuty):
    """On every sweep: declare the silent dead, then take every running row whose worker is not registered.

    The second is not tied to the first: a row that an open transaction pinned, or that a claim in flight brought in
    late, is found by the next sweep.
    """

    name = "rescuer"

    def __init__(
        self,
        database: Database,
        heartbeat: Callable[[], Heartbeat],
        leader: Leader,
        interval: float,
        rescued: Callable[[], None],
        settlement: Settlement,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, leader, interval, telemetry)
        self._heartbeat = heartbeat
        self._rescued = rescued
        self._settlement = settlement

    async def lead(self) -> float:
        heartbeat, any_dead = self._heartbeat(), False
        for worker, beat in heartbeat.silent():
            if await self._declare_dead(worker, beat):
                any_dead = True
                self._telemetry.declared_dead(worker)
        if any_dead:
            heartbeat.sweep(await self.ask(operations.beats))
        while await self._sweep() >= BATCH:
            pass
        return self._interval

    async def _declare_dead(self, worker: str, beat: int) -> bool:
        return await self.ask(lambda tx: operations.declare_dead(tx, worker, beat=beat))

    async def _sweep(self) -> int:
        rescued = await self.ask(lambda tx: execution.rescue(tx, token=new_token(), limit=BATCH))
        for job in rescued:
            self._telemetry.rescued(job.name, job.id, job.state, job.worker, job.charged)
        self._settlement.moved(job.state for job in rescued)
        if rescued:
            self._rescued()
        return len(rescued)
