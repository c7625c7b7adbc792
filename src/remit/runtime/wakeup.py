"""One bell for all parts of a worker that wait for work, and how such a part looks and sleeps.

The bell may only be settled, so that senders begin to ring, when every part is idle; and when one of them is busy
nobody rings, so that the others must look for themselves, ever less often.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from remit.db.store import ANYTHING, Bell, Ring
from remit.db.transaction import Database
from remit.runtime.loop import StoreLoop
from remit.telemetry import Telemetry

FASTEST, SLOWEST, SLOWING = 0.003, 0.05, 1.25
"""Seconds between two looks of an idle part while another is busy, and how they grow."""


@dataclass(frozen=True, slots=True)
class _Part:
    wake: Callable[[], None]
    hears: str
    after: float


class Watch:
    """Shares a bell. An idle part calls `settle`, looks, and sleeps for as long as it was told; one that has more to do
    than it could take at once calls `rouse`, and `hand_on` when what it did is work for the others.
    """

    def __init__(self, make: Callable[[Ring], Bell]) -> None:
        self._bell = make(self.ring)
        self._parts: dict[str, _Part] = {}
        self._intervals: dict[str, float] = {}
        """Of the parts that are idle."""
        self._turn = asyncio.Lock()

    def join(self, part: str, wake: Callable[[], None], *, hears: str, after: float = 0.0) -> None:
        """Take part; until it settles, a part counts as busy. It hears what the bell rings for, or that it rings for
        anything, `after` seconds later than others.
        """
        self._parts[part] = _Part(wake, hears, after)

    def ring(self, news: str) -> None:
        """Something may have come: everybody looks whom it may concern."""
        for part in self._parts.values():
            if news not in (ANYTHING, part.hears):
                continue
            if part.after:
                asyncio.get_running_loop().call_later(part.after, part.wake)
            else:
                part.wake()

    async def settle(self, part: str) -> float:
        """Prepare to sleep; answers how many seconds a sleep may last, *after one more look left nothing*."""
        interval = self._intervals[part] = min(self._intervals.get(part, FASTEST / SLOWING) * SLOWING, SLOWEST)
        if len(self._intervals) < len(self._parts):
            return interval
        async with self._turn:
            return await self._bell.settle()

    async def rouse(self, part: str) -> None:
        """Busy again: until the next `settle`, nobody needs to ring. Who sleeps on the bell must not any longer."""
        was_settled = len(self._intervals) == len(self._parts)
        self._intervals.pop(part, None)
        if not was_settled:
            return
        self._intervals = dict.fromkeys(self._intervals, FASTEST / SLOWING)  # what they did not hear, they look for
        async with self._turn:
            await self._bell.rouse()
        self.hand_on(part)

    def hand_on(self, part: str) -> None:
        """What it did is work for the others: they look now, and need not wait until somebody rings."""
        for name, other in self._parts.items():
            if name != part:
                other.wake()

    async def leave(self, part: str) -> None:
        """Wait no more; the last one to leave closes the bell."""
        self._parts.pop(part, None)
        self._intervals.pop(part, None)
        if not self._parts:
            async with self._turn:
                await self._bell.close()


class Look(Enum):
    """What a look at the store found."""

    NOTHING = auto()
    ALL = auto()
    """It took all that was there."""
    MORE = auto()
    """It took as much as it could: there may be more."""


class Lookout(StoreLoop):
    """A part that takes work from the store, and sleeps on the bell while there is none.

    While it sleeps, and until it has left something lying, whoever sends rings; so a single job costs one look.
    """

    def __init__(
        self, database: Database, watch: Watch, telemetry: Telemetry, *, hears: str, after: float = 0.0
    ) -> None:
        super().__init__(database, telemetry)
        self._watch = watch
        self._busy = False
        watch.join(self.name, self.wake, hears=hears, after=after)

    @abstractmethod
    async def look(self) -> Look:
        """Take what is there."""

    async def turn(self) -> float:
        """Idle: settle, look, sleep. Busy: look, and leave the bell alone until there is nothing left."""
        was_busy = self._busy
        pause = 0.0 if was_busy else await self._watch.settle(self.name)
        found = await self.look()
        if found is Look.NOTHING:
            self._busy = False
            return pause  # after busy turns: settles, and looks once more
        if found is Look.ALL and pause > SLOWEST and not self.is_woken:
            return pause  # what comes from now on rings
        self._busy = True
        if not was_busy:
            await self._watch.rouse(self.name)
        return 0.0

    async def stop(self) -> None:
        await super().stop()
        await self._watch.leave(self.name)

    async def kill(self) -> None:
        await super().kill()
        await asyncio.gather(self._watch.leave(self.name), return_exceptions=True)
