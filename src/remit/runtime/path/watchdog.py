"""One clock for all timeouts: stops a run at its deadline, and has it abandoned when that did not help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from remit.runtime.handlers.runs import Interruption, LiveRun
from remit.runtime.loop import Loop
from remit.telemetry import Telemetry

GRACE_AFTER_CANCEL = 5.0
"""Seconds in which a cancelled async handler must end; then its slot is replaced."""


class Watchdog(Loop):
    """Runs without a timeout are not watched, and cost nothing here."""

    name = "watchdog"

    def __init__(self, abandon: Callable[[LiveRun], None], telemetry: Telemetry) -> None:
        super().__init__(telemetry)
        self._abandon = abandon
        self._deadlines: dict[LiveRun, float] = {}
        self._next = float("inf")

    def watch(self, run: LiveRun, seconds: float) -> None:
        run.deadline = asyncio.get_running_loop().time() + seconds
        self._set(run, run.deadline)

    def expect_end(self, run: LiveRun) -> None:
        """It was told to stop: it must end soon."""
        run.deadline = asyncio.get_running_loop().time() + GRACE_AFTER_CANCEL
        self._set(run, run.deadline)

    def forget(self, run: LiveRun) -> None:
        self._deadlines.pop(run, None)

    def _set(self, run: LiveRun, deadline: float) -> None:
        self._deadlines[run] = deadline
        if deadline < self._next:
            self.wake()

    async def turn(self) -> float:
        now = asyncio.get_running_loop().time()
        for run in [run for run, deadline in self._deadlines.items() if deadline <= now]:
            if run.interruption is None:
                run.interrupt(Interruption.TIMEOUT)
                self._deadlines[run] = now + GRACE_AFTER_CANCEL
            else:
                self._deadlines.pop(run)
                self._abandon(run)
        self._next = min(self._deadlines.values(), default=now + 3600.0)
        return max(0.001, self._next - now)
