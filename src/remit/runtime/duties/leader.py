"""One worker leads: it does the duties that need doing once. The database's row is the only truth.

A term is (holder, moment of election, as the database issued it). Trust in it ends, on our own monotonic clock, a
margin before the database would give it to another; renewing and resigning name the exact term. Both duties are safe
with two leaders at once: leadership saves work, correctness never rests on it.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable

from remit.db.transaction import Database, Role
from remit.errors import StoreError
from remit.runtime import operations
from remit.runtime.loop import Signal, StoreLoop
from remit.runtime.path.ledger import Claims
from remit.telemetry import Telemetry

ROLE = "leader"


class Leader(StoreLoop):
    """Elects, renews, resigns. `elected` is called when this worker becomes the leader."""

    name = "leader"

    role = Role.LEADER

    def __init__(
        self, database: Database, claims: Claims, term: float, elected: Callable[[], None], telemetry: Telemetry
    ) -> None:
        super().__init__(database, telemetry)
        self._report = elected
        self._claims = claims
        self._term = term
        self._elected: tuple[str, int] | None = None
        self._trusted_until = 0.0

    @property
    def leading(self) -> bool:
        return self._elected is not None and time.monotonic() < self._trusted_until

    async def turn(self) -> float:
        worker, sent = self._claims.ledger.worker, time.monotonic()
        if self._elected is not None and self._elected[0] == worker:
            elected = self._elected[1]
            if await self.ask(lambda tx: operations.renew(tx, ROLE, worker, elected=elected, term=self._term)):
                self._trust(sent)
                return self._term / 3
            self._elected = None
            self._telemetry.deposed(ROLE)
        won = await self.ask(lambda tx: operations.elect(tx, ROLE, worker, term=self._term))
        if won is not None:
            self._elected = (worker, won)
            self._trust(sent)
            self._telemetry.elected(ROLE)
            self._report()
        return self._term / 3

    def _trust(self, sent: float) -> None:
        self._trusted_until = sent + self._term * 0.8

    async def stop(self) -> None:
        await super().stop()
        elected, self._elected = self._elected, None
        if elected is not None:
            worker, moment = elected
            try:
                await self.ask(lambda tx: operations.resign(tx, ROLE, worker, elected=moment))
            except StoreError:
                pass  # the term runs out by itself


class LeaderDuty(StoreLoop):
    """What only the leader does: every `interval` seconds, and when it is elected."""

    role = Role.LEADER
    woken_by = frozenset({Signal.ELECTED})

    def __init__(self, database: Database, leader: Leader, interval: float, telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._leader = leader
        self._interval = interval

    async def turn(self) -> float:
        if not self._leader.leading:
            self.rest()
            return self._interval
        return await self.lead()

    @abstractmethod
    async def lead(self) -> float:
        """Do what there is to do; answer how many seconds to sleep, unless woken."""

    def rest(self) -> None:
        """Another worker leads: forget what was known as the leader."""
