"""A back-fill, one batch after the other: for the process that asked for it, and for a worker that goes on with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from remit.db.transaction import Work
from remit.errors import StoreError
from remit.outbox import operations
from remit.outbox.model import NOT_THE_EVENT, Filled, Filling

T = TypeVar("T")
BATCH = 500
PAUSE = 0.05
"""Seconds until another look at what others have in their hands."""


class Runs(Protocol):
    """Runs an operation in a transaction of its own."""

    async def __call__(self, work: Work[T], *, atomic: bool) -> T: ...


class Damaged(Struct, frozen=True):
    """An event that the store refuses to deliver, as when its payload is no JSON and a `where=` has to read it."""

    id: str
    name: str
    reason: str


async def wait_for_relays(run: Runs, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Wait until those have ended who make deliveries at this moment.

    They may not see what was done to a subscription just now: an event that they dispatch does not reach a new one, and
    still reaches one that was retired. What is dispatched later sees it.
    """
    under_way = await run(operations.delivering, atomic=False)
    while under_way:
        await sleep(PAUSE)
        under_way &= await run(operations.delivering, atomic=False)


class Backfill:
    """Delivers the log to one subscription, from the place at which its row says that the back-fill stands.

    Each batch moves that place in its own transaction, so that a worker can go on where a process was killed.
    """

    def __init__(self, run: Runs, filling: Filling) -> None:
        self._run = run
        self.filling = filling
        self.seen = 0
        self.made = 0
        self.damaged: list[Damaged] = []
        self.is_noted = True
        """Whether the row still tells of this one: no other has begun since, and nobody has ended it."""

    @property
    def batch(self) -> int:
        """How many events one step looks at."""
        return BATCH if self.filling.rate is None else max(1, min(BATCH, int(self.filling.rate)))

    async def step(self) -> bool:
        """Deliver one batch; answers whether there may be more. What the store refuses is found and passed by."""
        limit = self.batch
        done = await self._fill(self.filling.after, limit)
        self.seen += done.events
        self.made += done.deliveries
        return done.events == limit

    async def beat(self) -> None:
        """Show that this back-fill goes on, while it waits."""
        self.filling = self.filling.at(self.filling.after)
        self.is_noted = await self._run(lambda tx: operations.note_filling(tx, self.filling), atomic=False)

    async def end(self) -> None:
        """Let go what was held."""
        await self._run(lambda tx: operations.end_filling(tx, self.filling), atomic=False)

    async def _fill(self, after: int, limit: int) -> Filled:
        try:
            done, self.filling, self.is_noted = await self._run(
                lambda tx: operations.fill_and_note(tx, self.filling, after=after, limit=limit), atomic=True
            )
            return done
        except NOT_THE_EVENT:
            raise
        except StoreError as error:
            if limit > 1:
                return await self._fill_apart(after, limit)
            return await self._pass_by(after, error)

    async def _fill_apart(self, after: int, limit: int) -> Filled:
        half = limit // 2
        first = await self._fill(after, half)
        if first.events < half:
            return first
        second = await self._fill(first.after, limit - half)
        return Filled(first.events + second.events, second.after, first.deliveries + second.deliveries)

    async def _pass_by(self, after: int, error: StoreError) -> Filled:
        found = await self._run(lambda tx: operations.next_to_fill(tx, self.filling, after=after), atomic=False)
        if found is None:  # purged meanwhile
            return Filled(0, after, 0)
        id, name, seq = found
        self.damaged.append(Damaged(id, name, str(error)))
        self.filling = self.filling.at(seq)
        return Filled(1, seq, 0)
