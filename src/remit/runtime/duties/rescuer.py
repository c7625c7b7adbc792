"""Frees the jobs of workers that are gone: by liveness, never by age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from remit.db.transaction import Database
from remit.execution import operations as execution
from remit.jobs.ids import new_token
from remit.runtime import operations
from remit.runtime.duties.leader import Leader
from remit.runtime.lease.heartbeat import Heartbeat
from remit.runtime.lease.liveness import sweep_files
from remit.runtime.loop import StoreLoop
from remit.runtime.path.settlement import Settlement
from remit.telemetry import Telemetry

BATCH = 500


class Rescuer(StoreLoop):
    """On every sweep: bury the silent, then take every running row whose worker is not registered.

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
        sidecar: Path | None,
    ) -> None:
        super().__init__(database, telemetry)
        self._heartbeat = heartbeat
        self._leader = leader
        self._interval = interval
        self._rescued = rescued
        self._settlement = settlement
        self._sidecar = sidecar

    async def turn(self) -> float:
        if not self._leader.leading:
            return self._interval
        buried = False
        for worker, beat in self._heartbeat().silent():
            if await self._bury(worker, beat):
                buried = True
                self._telemetry.buried(worker)
        if buried and self._sidecar is not None:
            sweep_files(self._sidecar, set(await self.ask(operations.beats)))
        while await self._sweep() >= BATCH:
            pass
        return self._interval

    async def _bury(self, worker: str, beat: int) -> bool:
        return await self.ask(lambda tx: operations.bury(tx, worker, beat=beat))

    async def _sweep(self) -> int:
        rescued = await self.ask(lambda tx: execution.rescue(tx, token=new_token(), limit=BATCH))
        for job in rescued:
            self._telemetry.rescued(job.name, job.id, job.state, job.worker, job.charged)
        self._settlement.moved(job.state for job in rescued)
        if rescued:
            self._rescued()
        return len(rescued)
