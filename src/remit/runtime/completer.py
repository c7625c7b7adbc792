"""Writes outcomes: many in one statement, each guarded by its token, with the messages of those that land.

Whatever ends while a statement is under way goes with the next, so batches grow with the load and a lone outcome does
not wait. An outcome that the store refuses is found by bisection and fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from msgspec.structs import replace

from remit.db.transaction import Database, Transaction
from remit.errors import StoreBusy, StoreError, StoreUnavailable
from remit.jobs import operations
from remit.jobs.ids import new_token
from remit.jobs.model import Ended, Landed
from remit.jobs.states import Failure, GaveUp, State, decide
from remit.outbox.model import Lane
from remit.runtime.ledger import Ledger
from remit.runtime.outcomes import describe
from remit.runtime.service import StoreLoop
from remit.telemetry import Telemetry

LARGEST_BATCH = 1000
BETWEEN_TRIES = 0.05
"""Seconds left to others when an ordered event has waited in vain for its turn."""


class Completer(StoreLoop):
    """The only part that writes outcomes, except for completions in a transaction of a handler's."""

    name = "completer"
    largest = LARGEST_BATCH

    def __init__(
        self,
        database: Database,
        ledger: Callable[[], Ledger],
        telemetry: Telemetry,
        promote_in: Callable[[float], None],
        ended_in: Callable[[Iterable[Lane]], None],
    ) -> None:
        super().__init__(database, telemetry)
        self._ledger = ledger
        self._promote_in = promote_in
        self._ended_in = ended_in
        self._outbox: deque[tuple[Ended, str]] = deque()
        self._unheard: set[int] = set()
        """Stamps of tries whose answer was lost: no row means unknown then, not lost, and the row's token tells."""
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, ended: Ended, name: str) -> None:
        """Take an outcome; it is written soon. `name` is the job's, for people."""
        self._outbox.append((ended, name))
        if self._empty.is_set():
            self._empty.clear()
        self.wake()

    def __len__(self) -> int:
        return len(self._outbox)

    def tell_turn(self, turn: Lane | None) -> None:
        """A delivery has ended; `turn` is its lane, where the subscription is ordered."""
        if turn is not None:
            self._ended_in([turn])

    async def flushed(self) -> None:
        """Wait until everything is written."""
        await self._empty.wait()

    def forget(self) -> None:
        """The lease is lost: nothing that waits here may be written any more."""
        self._outbox.clear()
        self._empty.set()

    async def turn(self) -> float:
        while self._outbox:
            ledger = self._ledger()
            batch, names = self._batch()
            await self._write(batch, names, ledger)
            for ended in batch:
                if self._outbox and self._outbox[0][0] is ended:
                    self._outbox.popleft()
            self._unheard.clear()
        self._empty.set()
        return 3600.0

    def _batch(self) -> tuple[list[Ended], dict[str, str]]:
        """What is written next, and the names. Two runs of one job go apart: messages are sent for a job that lands."""
        batch: list[Ended] = []
        names: dict[str, str] = {}
        for ended, name in self._outbox:
            if ended.id in names or len(batch) == self.largest:
                break
            batch.append(ended)
            names[ended.id] = name
        return batch, names

    async def _write(self, batch: list[Ended], names: dict[str, str], ledger: Ledger) -> None:
        tries, stamp = 0, new_token()

        def write(tx: Transaction) -> Coroutine[Any, Any, list[Landed]]:
            nonlocal tries
            tries += 1
            return operations.finish(tx, batch, worker=ledger.worker, stamp=stamp)

        try:
            landed = await self.ask(write)
        except StoreUnavailable:
            self._unheard.add(stamp)
            raise
        except StoreBusy:
            raise
        except StoreError as error:
            await self._bisect(batch, names, ledger, error)
            return
        states = {one.id: one.state for one in landed}
        unheard = {stamp, *self._unheard} if tries > 1 or self._unheard else set()
        for ended in batch:
            ledger.drop(ended.id, ended.token)
            state = states.get(ended.id)
            if state is None and unheard and await self._bears(ended, unheard):
                state = ended.transition.state
            if state is not None:
                self._tell(ended, names[ended.id], state)
            elif not unheard and not ledger.fenced:
                self._telemetry.lease_lost(names[ended.id], ended.id)

    async def _bears(self, ended: Ended, stamps: set[int]) -> bool:
        """Whether the job's row was written by one of these tries."""
        _, token = await self.ask(lambda tx: operations.probe(tx, ended.id))
        return token in stamps

    def _tell(self, ended: Ended, name: str, state: State) -> None:
        self._telemetry.ended(state)
        if state.is_final:
            self.tell_turn(ended.turn)
        transition = ended.transition
        if state is State.DEAD:
            self._telemetry.dead(name, ended.id, transition.reason or "")
        elif state is State.SCHEDULED and transition.delay is not None:
            if transition.failure is not None:
                error = f"{transition.failure.kind}: {transition.failure.message}"
                self._telemetry.failed(name, ended.id, ended.attempt, ended.attempts, error, transition.delay)
            self._promote_in(transition.delay)

    async def _bisect(self, batch: list[Ended], names: dict[str, str], ledger: Ledger, error: StoreError) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(batch[:middle], names, ledger)
            await self._write(batch[middle:], names, ledger)
            return
        [culprit] = batch
        if culprit.transition.state is State.DEAD and not culprit.messages and not culprit.events:
            raise error  # even the plainest outcome is refused: it is not the outcome
        await self._write([_unwritable(culprit, error)], names, ledger)


class OrderedCompleter(Completer):
    """Writes the outcomes of runs that publish ordered events, one by one: each may have to wait for its turn, behind
    somebody's open transaction. One that waits for too long lets the others pass.
    """

    name = "ordered-completer"
    largest = 1

    async def turn(self) -> float:
        try:
            return await super().turn()
        except StoreBusy:
            self._outbox.rotate(-1)
            return BETWEEN_TRIES


def _unwritable(ended: Ended, error: StoreError) -> Ended:
    """A run whose outcome the store refuses for what it contains: set aside, with the reason."""
    cause = describe(error)
    failure = Failure("OutcomeRefused", f"the store refused the outcome of this run: {cause.message}", None)
    outcome = GaveUp(failure.message[:1000], failure)
    failures = max(0, ended.attempt - 1)
    return replace(ended, transition=decide(outcome, failures=failures, attempts=ended.attempt), messages=[], events=())
