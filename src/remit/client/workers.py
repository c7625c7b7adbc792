"""`app.workers`: who works, and who leads."""

from __future__ import annotations

import builtins

from remit.client.faces import BlockingFace, Runs, blocking
from remit.runtime import operations
from remit.runtime.operations import LeaderRecord, WorkerRecord


class Workers:
    """Registered workers. One that died is listed until another worker has noticed."""

    def __init__(self, database: Runs) -> None:
        self._database = database

    async def list(self) -> builtins.list[WorkerRecord]:
        """Every registered worker, the oldest first."""
        return await self._database.run(operations.workers, atomic=False)

    async def leaders(self) -> builtins.list[LeaderRecord]:
        """Who leads, per role."""
        return await self._database.run(operations.leaders, atomic=False)


class SyncWorkers(BlockingFace[Workers]):
    """`app.sync.workers`: the same verbs, blocking."""

    list = blocking(Workers.list)
    leaders = blocking(Workers.leaders)
