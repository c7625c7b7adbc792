"""Signals that ask a worker to stop: the first gracefully, the second at once, the third ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from remit.runtime.signals import STOPPING, give_back, take

T = TypeVar("T")


class StopSwitch:
    """Counts the signals and notifies a listener. Until `hold`, nothing has begun: the first ends the program.

    The handlers are Python's, not the event loop's, so that the third signal ends a process whose loop is blocked.
    Under a supervisor signals do not add up: the supervisor calls `ask` when they should.
    """

    class Stopped(BaseException):
        """Raised at the current line of the program, when a signal comes before anything has begun."""

    def __init__(self, *, supervised: bool = False) -> None:
        self.asked = 0
        self._supervised = supervised
        self._wanted = 0
        self._listener: Callable[[], None] | None = None

    def install(self) -> None:
        for number in STOPPING:
            take(number, self._heard)

    def uninstall(self) -> None:
        for number in STOPPING:
            give_back(number)

    def ask(self, level: int) -> None:
        """Ask to stop, gracefully (1) or at once (2), unless that was requested already; from any thread."""
        if self.asked < level:
            self._wanted = level
            os.kill(os.getpid(), signal.SIGTERM)  # the main thread must receive it

    def _heard(self, number: int, _: object) -> None:
        level = 1 if self._supervised else self.asked + 1
        while self.asked < max(level, self._wanted):
            self.asked += 1
            if self.asked > 2:
                os._exit(128 + number)
            if self._listener is not None:
                self._listener()
            elif self.asked == 1:
                raise StopSwitch.Stopped

    def hold(self) -> None:
        """From now on keep signals for the listener: an event loop begins, and must not be interrupted."""
        self._listener = self._listener or _nobody

    @contextmanager
    def telling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` at each further signal. It is called at once if one came just before."""
        self._listener = listener
        if self.asked:
            listener()
        try:
            yield
        finally:
            self._listener = _nobody


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run work on an event loop of its own, and cancel it where it waits when a signal comes, so that it releases what
    it holds in the store. An exception raised at any place would be lost in a callback of the database.

    Raises `KeyboardInterrupt` then.
    """

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heard:
            loop.add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _nobody() -> None:
    """The work has not begun yet, or is over."""
