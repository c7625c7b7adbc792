"""One wakeup for all parts of a worker that wait for work, and how such a part looks and sleeps.

The wakeup may be armed, so that senders begin to notify, only when every part is idle. When one of them is busy nobody
notifies, so the others look for themselves, ever less often.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from remit.db.store import ANYTHING, Notify, Wakeup
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


class SharedWakeup:
    """Shares a wakeup. An idle part calls `arm`, looks, and sleeps for as long as the answer says; one that has more
    to do than it could take at once calls `disarm`, and `hand_on` when what it did is work for the others.
    """

    def __init__(self, make: Callable[[Notify], Wakeup]) -> None:
        self._wakeup = make(self.notify)
        self._parts: dict[str, _Part] = {}
        self._intervals: dict[str, float] = {}
        """Of the parts that are idle."""
        self._turn = asyncio.Lock()

    def join(self, part: str, wake: Callable[[], None], *, hears: str, after: float = 0.0) -> None:
        """Take part; until it arms the wakeup, a part counts as busy. It is woken by notifications of `hears`, and of
        anything, `after` seconds later than others.
        """
        self._parts[part] = _Part(wake, hears, after)

    def notify(self, news: str) -> None:
        """Something may have come: every part that it may concern looks."""
        for part in self._parts.values():
            if news not in (ANYTHING, part.hears):
                continue
            if part.after:
                asyncio.get_running_loop().call_later(part.after, part.wake)
            else:
                part.wake()

    async def arm(self, part: str) -> float:
        """Prepare to sleep; answers how many seconds a sleep may last, *after one more look left nothing*."""
        interval = self._intervals[part] = min(self._intervals.get(part, FASTEST / SLOWING) * SLOWING, SLOWEST)
        if len(self._intervals) < len(self._parts):
            return interval
        async with self._turn:
            return await self._wakeup.arm()

    async def disarm(self, part: str) -> None:
        """Busy again: until the next `arm`, nobody needs to notify. A part that sleeps on the wakeup is woken."""
        was_armed = len(self._intervals) == len(self._parts)
        self._intervals.pop(part, None)
        if not was_armed:
            return
        self._intervals = dict.fromkeys(self._intervals, FASTEST / SLOWING)  # they look for what was not notified
        async with self._turn:
            await self._wakeup.disarm()
        self.hand_on(part)

    def hand_on(self, part: str) -> None:
        """What it did is work for the others: they look now, and wait for no notification."""
        for name, other in self._parts.items():
            if name != part:
                other.wake()

    async def leave(self, part: str) -> None:
        """Wait no more; the last one to leave closes the wakeup."""
        self._parts.pop(part, None)
        self._intervals.pop(part, None)
        if not self._parts:
            async with self._turn:
                await self._wakeup.close()


class Found(Enum):
    """What a look at the store found."""

    NOTHING = auto()
    ALL = auto()
    """It took all that was there."""
    MORE = auto()
    """It took as much as it could: there may be more."""


class Poller(StoreLoop):
    """A part that takes work from the store, and sleeps on the wakeup while there is none.

    While it sleeps, and until it leaves something behind, every sender notifies; so a single job costs one look.
    """

    def __init__(
        self, database: Database, wakeup: SharedWakeup, telemetry: Telemetry, *, hears: str, after: float = 0.0
    ) -> None:
        super().__init__(database, telemetry)
        self._wakeup = wakeup
        self._busy = False
        wakeup.join(self.name, self.wake, hears=hears, after=after)

    @abstractmethod
    async def poll(self) -> Found:
        """Take what is there."""

    async def turn(self) -> float:
        """Idle: arm, look, sleep. Busy: look, and leave the wakeup alone until there is nothing left."""
        was_busy = self._busy
        pause = 0.0 if was_busy else await self._wakeup.arm(self.name)
        found = await self.poll()
        if found is Found.NOTHING:
            self._busy = False
            return pause  # after busy turns: arms, and looks once more
        if found is Found.ALL and pause > SLOWEST and not self.is_woken:
            return pause  # what comes from now on is notified
        self._busy = True
        if not was_busy:
            await self._wakeup.disarm(self.name)
        return 0.0

    async def stop(self) -> None:
        await super().stop()
        await self._wakeup.leave(self.name)

    async def kill(self) -> None:
        await super().kill()
        await asyncio.gather(self._wakeup.leave(self.name), return_exceptions=True)
