"""Fans events out to subscriptions.

Any number of relays work at once: a batch is taken by row, and what several do at the same time is the same. An event
that cannot be fanned out is found by bisection, tried again, and in the end set aside; it holds up no other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

from remit.catalog import exponential
from remit.db.store import EVENTS, Capability, Store
from remit.db.transaction import Database, Role
from remit.errors import StoreError
from remit.outbox import operations
from remit.outbox.model import NOT_THE_EVENT, Dispatched, EventState, Lane
from remit.runtime.handlers.outcomes import describe
from remit.runtime.wakeup import Found, Poller, SharedWakeup
from remit.telemetry import Telemetry

BATCH = 500
AFTER_PRODUCER = 0.0015
"""Seconds by which the relay lets the producer go first where writers exclude each other; a job would wait for it."""
MOST_ATTEMPTS = 10
_BACKOFF = exponential(1.0, cap=300.0)


class Relay(Poller):
    """`ordered` is told in which lanes of ordered subscriptions there is something new. `keep` is how many seconds an
    event stays after its last delivery has ended, where its row does not say: that is so of the store's own alone.
    """

    name = "relay"
    role = Role.RELAY

    def __init__(
        self,
        store: Store,
        database: Database,
        wakeup: SharedWakeup,
        ordered: Callable[[Iterable[Lane]], None],
        keep: float,
        telemetry: Telemetry,
    ) -> None:
        self._looks_first = Capability.SEVERAL_WRITERS not in store.capabilities
        super().__init__(database, wakeup, telemetry, hears=EVENTS, after=AFTER_PRODUCER if self._looks_first else 0.0)
        self._keep = keep
        self._ordered = ordered
        self.dispatched = 0

    async def poll(self) -> Found:
        """Dispatch one batch, if there is one."""
        if self._looks_first and not await self._is_any_due():
            return Found.NOTHING
        try:
            done = await self.ask(lambda tx: operations.dispatch(tx, limit=BATCH, keep=self._keep))
        except NOT_THE_EVENT:
            raise
        except StoreError:
            done = await self._dispatch_apart()
        self.dispatched += done.events
        recognised = await self.ask(lambda tx: operations.recognise(tx, limit=BATCH)) if done.unknown else 0
        if done.jobs:
            self._wakeup.hand_on(self.name)
        if done.lanes:
            self._ordered(done.lanes)
        if not done.events and not done.unknown:
            return Found.NOTHING
        return Found.MORE if done.seen >= BATCH or recognised else Found.ALL

    async def _is_any_due(self) -> bool:
        waiting = await self.ask(lambda tx: operations.pending(tx, limit=1))
        return bool(waiting) and waiting[0][1] <= 0

    # --- what cannot be fanned out

    async def _dispatch_apart(self) -> Dispatched:
        """Something in the batch is refused: find it."""
        waiting = await self.ask(lambda tx: operations.pending(tx, limit=BATCH))
        return await self._bisect([id for id, due in waiting if due <= 0])

    async def _bisect(self, ids: Sequence[str]) -> Dispatched:
        if not ids:
            return Dispatched(0, 0, 0, (), 0)
        try:
            return await self.ask(lambda tx: operations.dispatch(tx, limit=BATCH, keep=self._keep, only=ids))
        except NOT_THE_EVENT:
            raise
        except StoreError as error:
            if len(ids) == 1:
                await self._fail(ids[0], error)
                return Dispatched(1, 0, 0, (), 0)
        middle = len(ids) // 2
        first, second = await self._bisect(ids[:middle]), await self._bisect(ids[middle:])
        return Dispatched(
            first.seen + second.seen,
            first.events + second.events,
            first.jobs + second.jobs,
            first.lanes + second.lanes,
            first.unknown + second.unknown,
        )

    async def _fail(self, id: str, error: StoreError) -> None:
        event = await self.ask(lambda tx: operations.get_event(tx, id))
        if event is None:
            return
        reason = describe(error).message[:1000]
        delay = _BACKOFF.delay(event.attempts + 1, random.random())
        failed = await self.ask(lambda tx: operations.fail(tx, id, error=reason, most=MOST_ATTEMPTS, delay=delay))
        if failed is None:
            return
        state, attempts, name = failed
        if state is EventState.DEAD:
            self._telemetry.event_dead(name, id, reason)
        else:
            self._telemetry.event_failed(name, id, attempts, reason, delay)
            asyncio.get_running_loop().call_later(delay, self.wake)
