"""The lifecycle that every background part shares, the loop that survives its errors, and the signals that wake it."""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto
from typing import ClassVar, TypeVar

from remit.db.transaction import Database, Role, Work
from remit.errors import StoreError
from remit.telemetry import Telemetry

T = TypeVar("T")

FIRST_BACKOFF, LAST_BACKOFF = 0.1, 5.0
LONGEST_WAIT = 15.0
"""Seconds without an answer of the database after which the wait itself is the trouble."""


class Signal(Enum):
    """What parts of a worker report to those that wait for it."""

    WORK = auto()
    """There may be jobs to claim, or room for them."""
    ELECTED = auto()
    """This worker leads from now on."""


class Signals:
    """Which parts a signal wakes. A part that sends one may be made before those that it wakes."""

    def __init__(self) -> None:
        self._loops: dict[Signal, list[Loop]] = {signal: [] for signal in Signal}

    def connect(self, loop: Loop) -> None:
        """From now on the signals of its class wake this loop."""
        for signal in loop.woken_by:
            self._loops[signal].append(loop)

    def sender(self, signal: Signal) -> Callable[[], None]:
        """A call that sends this signal."""
        loops = self._loops[signal]

        def send() -> None:
            for loop in loops:
                loop.wake()

        return send


class Loop(ABC):
    """Takes one turn after the other until it is stopped.

    An error of the store is logged once, backed off and healed; so is any other, with its stack. A loop never ends
    because of an error. `complaint` is what is wrong now: the worker's health says so.
    """

    name: str
    woken_by: ClassVar[frozenset[Signal]] = frozenset()

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._woken = False
        self._sleeper: asyncio.Future[None] | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """The error that goes on."""

    @property
    def complaint(self) -> str | None:
        """What is wrong now, for people; may be read from any thread."""
        return self.trouble

    @property
    def ended(self) -> bool:
        """Whether it takes no more turns: stopped, killed, or cancelled with everything else on its event loop."""
        return self._stopping or (self._task is not None and self._task.cancelling() > 0)

    @abstractmethod
    async def turn(self) -> float:
        """Do what there is to do; answer how many seconds to sleep, unless woken."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"remit-{self.name}")

    def wake(self) -> None:
        """Take the next turn now."""
        self._woken = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    @property
    def is_woken(self) -> bool:
        """Whether the next turn comes at once."""
        return self._woken

    async def stop(self) -> None:
        """Let the present turn end, and take no other."""
        self._stopping = True
        self.wake()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def kill(self) -> None:
        """End in the middle of a turn."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures, since = 0, 0.0
        while not self._stopping:
            try:
                pause = await self.turn()
                if failures:
                    self._telemetry.healed(self.name, time.monotonic() - since)
                    failures, self.trouble = 0, None
            except Exception as error:
                if not failures:
                    since = time.monotonic()
                    report = self._telemetry.trouble if isinstance(error, StoreError) else self._telemetry.crashed
                    report(self.name, error)
                self.trouble = f"{type(error).__name__}: {error}"
                pause = min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures, 10)) * (0.5 + random.random() / 2)
                failures += 1
            await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless woken."""
        if seconds > 0 and not self._woken and not self._stopping:
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            timer = loop.call_later(seconds, self.wake)
            try:
                await self._sleeper
            finally:
                timer.cancel()
                self._sleeper = None
        self._woken = False


class StoreLoop(Loop):
    """A loop that works on the database, and knows for how long it has waited for an answer.

    A statement behind a lock, or sent to a server that says nothing, raises nothing: without this, a part that is stuck
    would look well.
    """

    role: ClassVar[Role]
    """What its connection is for. Parts of one role share a connection."""
    shares_connection: ClassVar[bool] = True

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        super().__init__(telemetry)
        self._database = database
        self._asked: float | None = None

    @property
    def complaint(self) -> str | None:
        asked = self._asked
        if self.trouble is None and asked is not None and (seconds := time.monotonic() - asked) > LONGEST_WAIT:
            return f"no answer from the database for {seconds:.0f} s"
        return self.trouble

    async def ask(self, work: Work[T], *, atomic: bool = False) -> T:
        """Run an operation, by default each statement its own transaction; a part asks for one thing at a time."""
        self._asked = time.monotonic()
        try:
            return await self._database.run(work, atomic=atomic)
        finally:
            self._asked = None
