"""Writes outcomes: many in one statement, each guarded by its token, with the messages of those that land.

Whatever ends while a statement is under way goes with the next, so batches grow with the load and a lone outcome does
not wait. An outcome that the store refuses is found by bisection and fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace

from remit.db.transaction import Database, Role, Transaction
from remit.errors import IdTaken, RemitError, StoreBusy, StoreError, StoreUnavailable
from remit.execution import operations as execution
from remit.execution.model import Ended, Landed
from remit.jobs.ids import new_token
from remit.jobs.states import Failure, GaveUp, State, decide
from remit.runtime.handlers.outcomes import describe
from remit.runtime.loop import StoreLoop
from remit.runtime.path.ledger import Claims, Ledger
from remit.runtime.path.settlement import Settlement
from remit.telemetry import Telemetry

LARGEST_BATCH = 1000
BETWEEN_TRIES = 0.05
"""Seconds left to others when an ordered event has waited in vain for its turn."""


class Completer(StoreLoop):
    """The only part that writes outcomes, except for completions in a transaction of a handler's."""

    name = "completer"
    role = Role.COMPLETE
    largest = LARGEST_BATCH

    def __init__(
        self,
        database: Database,
        claims: Claims,
        settlement: Settlement,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, telemetry)
        self._claims = claims
        self._settlement = settlement
        self._waiting: deque[Ended] = deque()
        self._unheard: set[int] = set()
        """Stamps of tries whose answer was lost: no row means unknown then, not lost, and the row's token tells."""
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, ended: Ended) -> None:
        """Take an outcome; it is written soon."""
        self._waiting.append(ended)
        if self._empty.is_set():
            self._empty.clear()
        self.wake()

    def __len__(self) -> int:
        return len(self._waiting)

    async def flushed(self) -> None:
        """Wait until everything is written."""
        await self._empty.wait()

    def forget(self) -> None:
        """The lease is lost: nothing that waits here may be written any more."""
        self._waiting.clear()
        self._empty.set()

    async def turn(self) -> float:
        while self._waiting:
            ledger = self._claims.ledger
            batch = self._batch()
            await self._write(batch, ledger)
            for ended in batch:
                if self._waiting and self._waiting[0] is ended:
                    self._waiting.popleft()
            self._unheard.clear()
        self._empty.set()
        return 3600.0

    def _batch(self) -> list[Ended]:
        """What is written next. Two runs of one job go apart: messages are sent for a job that lands."""
        batch: dict[str, Ended] = {}
        for ended in self._waiting:
            if ended.id in batch or len(batch) == self.largest:
                break
            batch[ended.id] = ended
        return list(batch.values())

    async def _write(self, batch: list[Ended], ledger: Ledger) -> None:
        tries, stamp = 0, new_token()

        def write(tx: Transaction) -> Coroutine[Any, Any, list[Landed]]:
            nonlocal tries
            tries += 1
            return execution.finish(tx, batch, worker=ledger.worker, stamp=stamp)

        try:
            landed = await self.ask(write, atomic=any(ended.has_own_ids for ended in batch))
        except StoreUnavailable:
            self._unheard.add(stamp)
            raise
        except StoreBusy:
            raise
        except (StoreError, IdTaken) as error:
            await self._bisect(batch, ledger, error)
            return
        states = {one.id: one.state for one in landed}
        if tries > 1 or self._unheard:
            self._unheard.add(stamp)
            for ended in batch:
                if ended.id not in states and await self._is_written(ended):
                    states[ended.id] = ended.transition.state
        for ended in batch:
            if ended.id in states:
                self._settlement.landed(ended, states[ended.id])
            elif self._unheard or ledger.fenced:
                self._settlement.unknown(ended)
            else:
                self._settlement.refused(ended)

    async def _is_written(self, ended: Ended) -> bool:
        """Whether the job's row was written by one of the tries whose answer was lost."""
        _, token = await self.ask(lambda tx: execution.probe(tx, ended.id))
        return token in self._unheard

    async def _bisect(self, batch: list[Ended], ledger: Ledger, error: RemitError) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(batch[:middle], ledger)
            await self._write(batch[middle:], ledger)
            return
        [culprit] = batch
        if culprit.transition.state is State.DEAD and not culprit.messages and not culprit.events:
            raise error  # even the plainest outcome is refused: it is not the outcome
        await self._write([_unwritable(culprit, error)], ledger)


class OrderedCompleter(Completer):
    """Writes the outcomes of runs that publish ordered events, one by one: each may have to wait for its turn, behind
    somebody's open transaction. One that waits for too long lets the others pass.
    """

    name = "ordered-completer"
    role = Role.TURN
    largest = 1

    async def turn(self) -> float:
        try:
            return await super().turn()
        except StoreBusy:
            self._waiting.rotate(-1)
            return BETWEEN_TRIES


def _unwritable(ended: Ended, error: RemitError) -> Ended:
    """A run whose outcome the store refuses for what it contains: set aside, with the reason."""
    cause = describe(error)
    failure = Failure("OutcomeRefused", f"the store refused the outcome of this run: {cause.message}", None)
    outcome = GaveUp(failure.message[:1000], failure)
    failures = max(0, ended.attempt - 1)
    return replace(ended, transition=decide(outcome, failures=failures, attempts=ended.attempt), messages=[], events=())
