"""Makes jobs ready when they are due. Every worker does it: a stalled leader must not delay retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from remit.db import fallbacks
from remit.db.transaction import Database, Role
from remit.jobs import operations
from remit.runtime.loop import StoreLoop
from remit.telemetry import Telemetry

BATCH = 1000


class Promoter(StoreLoop):
    """Sleeps until the next job is due, as far as it knows."""

    name = "promoter"
    role = Role.LEADER

    def __init__(self, database: Database, promoted: Callable[[], None], telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._promoted = promoted

    def wake_in(self, seconds: float) -> None:
        """This worker has just scheduled a job that is due so soon."""
        if seconds < fallbacks.PROMOTER:
            asyncio.get_running_loop().call_later(seconds, self.wake)

    async def turn(self) -> float:
        promoted, due = await self.ask(lambda tx: operations.promote(tx, limit=BATCH))
        if promoted:
            self._promoted()
        if promoted == BATCH:
            return 0.0
        return fallbacks.PROMOTER if due is None else min(fallbacks.PROMOTER, max(due, 0.001))
