"""One bell for all parts of a worker that wait for work.

The bell may only be settled, so that senders begin to ring, when every part is idle; and when one of them is busy
nobody rings, so that the others must look for themselves, ever less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from remit.db.store import Bell

FASTEST, SLOWEST, SLOWING = 0.003, 0.05, 1.25
"""Seconds between two looks of an idle part while another is busy, and how they grow."""


class Watch:
    """Shares a bell. A part that found nothing calls `settle`, looks once more, and sleeps for as long as it was told.

    One that found something calls `rouse`, and `hand_on` when that became work for the others.
    """

    def __init__(self, make: Callable[[Callable[[], None]], Bell]) -> None:
        self._bell = make(self.ring)
        self._wakes: dict[str, Callable[[], None]] = {}
        self._after: dict[str, float] = {}
        self._intervals: dict[str, float] = {}
        """Of the parts that are idle."""
        self._turn = asyncio.Lock()

    def join(self, part: str, wake: Callable[[], None], *, after: float = 0.0) -> None:
        """Take part; until it settles, a part counts as busy. It hears the bell `after` seconds later than others."""
        self._wakes[part] = wake
        self._after[part] = after

    def ring(self) -> None:
        """Something may have come: everybody looks."""
        for part, wake in self._wakes.items():
            if after := self._after[part]:
                asyncio.get_running_loop().call_later(after, wake)
            else:
                wake()

    async def settle(self, part: str) -> float:
        """Prepare to sleep; answers how many seconds a sleep may last, *after one more look found nothing*."""
        interval = self._intervals[part] = min(self._intervals.get(part, FASTEST / SLOWING) * SLOWING, SLOWEST)
        if len(self._intervals) < len(self._wakes):
            return interval
        async with self._turn:
            return await self._bell.settle()

    async def rouse(self, part: str) -> None:
        """Busy again: until the next `settle`, nobody needs to ring. Who sleeps on the bell must not any longer."""
        was_settled = len(self._intervals) == len(self._wakes)
        self._intervals.pop(part, None)
        if not was_settled:
            return
        self._intervals = dict.fromkeys(self._intervals, FASTEST / SLOWING)  # what they did not hear, they look for
        async with self._turn:
            await self._bell.rouse()
        self.hand_on(part)

    def hand_on(self, part: str) -> None:
        """What it did is work for the others: they look now, and need not wait until somebody rings."""
        for other, wake in self._wakes.items():
            if other != part:
                wake()

    async def leave(self, part: str) -> None:
        """Wait no more; the last one to leave closes the bell."""
        self._wakes.pop(part, None)
        self._intervals.pop(part, None)
        if not self._wakes:
            async with self._turn:
                await self._bell.close()
