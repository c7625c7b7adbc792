"""Between the producer and the slots of one queue: jobs that are claimed and wait for a slot."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from remit.execution.model import Claim

MOST_AHEAD = 1000
HORIZON = 0.05
"""Seconds of work that are claimed ahead of the slots; so long jobs are not claimed ahead at all."""
QUANTUM = 0.002
"""Seconds for which slots may take jobs in one turn of the loop: handlers that never wait must let it breathe."""
_SAMPLE = 0.01


class Prefetch:
    """Claimed jobs of one queue, and how many more it has room for.

    The producer may sleep in two cases only: it has looked for jobs of this queue, and the wakeup reports new ones; or
    it was refused by `room`, and `starving` reports the room. A refusal therefore registers for that call by itself,
    and one function answers both questions, whether there is room and whether to call.

    Slots are woken one after the other, a turn of the loop apart, each by the one before it when it takes a job. So
    handlers that never wait are run by one slot, in one go; if they do wait, all slots are soon at work.
    """

    def __init__(self, queue: str, concurrency: int, starving: Callable[[], None]) -> None:
        self.queue = queue
        self.concurrency = concurrency
        self.lines: list[int] = []
        self.running = 0
        self.more = True
        """Whether the store may hold jobs of this queue that no wakeup reports: nobody has looked, or the last look
        left some. `starving` is called while this is so and there is room.
        """
        self._starving = starving
        self._waiting: deque[Claim] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._waking = False
        self._until = 0.0
        self._ahead = 0
        self._finished = 0
        self._sampled = (time.monotonic(), 0)

    def room(self) -> int:
        """How many jobs to claim now. After a refusal, 0, `starving` is called as soon as there is room."""
        self._sample()
        room = self._room()
        if not room:
            self.more = True
        return room

    def _room(self) -> int:
        """None while enough jobs wait here to keep the slots busy. A slot that takes a job changes nothing."""
        free = self.concurrency - self.running - len(self._waiting)
        if free > 0:
            return free + self._ahead
        wanted = self._ahead + free
        return wanted if wanted > self._ahead // 2 else 0

    def _offer_room(self) -> None:
        if self.more and self._room():
            self._starving()

    def _sample(self) -> None:
        now = time.monotonic()
        at, finished = self._sampled
        if now - at >= _SAMPLE:
            rate = (self._finished - finished) / (now - at)
            target = min(MOST_AHEAD, int(rate * HORIZON))
            # Rise at once, fall slowly: one slow batch must not starve the slots.
            self._ahead = max(target, self._ahead * 3 // 4)
            self._sampled = (now, self._finished)

    def put(self, claims: Iterable[Claim]) -> None:
        self._waiting.extend(claims)
        self._wake_next()

    def _wake_next(self) -> None:
        if self._waiting and self._idle and not self._waking:
            self._waking = True
            self._wake_one()

    def _wake_one(self) -> None:
        while self._idle:
            slot = self._idle.pop()
            if not slot.done():
                slot.set_result(None)
                return
        self._waking = False

    async def take(self) -> Claim:
        """The next job, when there is one. The caller says `done` when its run has ended."""
        while not self._waiting or time.monotonic() > self._until:
            slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(slot)
            self._wake_next()
            try:
                await slot
            except asyncio.CancelledError:
                if slot.done() and not slot.cancelled():
                    self._wake_one()  # its turn passes on
                raise
            self._waking = False
            self._until = time.monotonic() + QUANTUM
        claim = self._waiting.popleft()
        self.running += 1
        self._wake_next()
        return claim

    def done(self) -> None:
        """A run of this queue has ended, or was given up: its slot is free."""
        self.running -= 1
        self._finished += 1
        self._offer_room()

    def empty(self) -> list[Claim]:
        """Take back all that has not started."""
        claims = list(self._waiting)
        self._waiting.clear()
        self._offer_room()
        return claims

    @property
    def waiting(self) -> int:
        return len(self._waiting)
