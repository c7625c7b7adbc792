"""How a handler says that its run ends in another way than by returning or failing.

They are raised, and derive from `BaseException`, so that a handler's own `except Exception` does not swallow them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from remit.errors import InvalidArgument

LONGEST: Final = 1000 * 365 * 86_400.0
"""A thousand years, in seconds: beyond it, databases and calendars overflow."""


class Signal(BaseException):
    """The root of what a handler may raise to end its run."""


class Skip(Signal):
    """There is nothing to do: the job ends as `skipped`, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = _reason("Skip", reason)
        super().__init__(self.reason)


class RetryAfter(Signal):
    """Failed; try again after so many seconds, instead of the policy's backoff. Costs an attempt.

    The last attempt makes the job dead all the same.
    """

    def __init__(self, seconds: float | timedelta, reason: str = "asked to be retried later") -> None:
        self.seconds = _seconds("RetryAfter", seconds)
        self.reason = _reason("RetryAfter", reason)
        super().__init__(f"{self.reason} (after {self.seconds:g} s)")


class Snooze(Signal):
    """Not yet: run again after so many seconds. Costs no attempt, so it can go on for ever."""

    def __init__(self, seconds: float | timedelta) -> None:
        self.seconds = _seconds("Snooze", seconds)
        super().__init__(f"for {self.seconds:g} s")


class DeadLetter(Signal):
    """No retry can help: the job is dead at once, with this reason, and waits for a person."""

    def __init__(self, reason: str) -> None:
        self.reason = _reason("DeadLetter", reason)
        super().__init__(self.reason)


class Cancelled(Signal):
    """The job stops early, because somebody asked it to or by itself: it ends as `cancelled`.

    The reason that was given with the request to stop is kept; without one, this reason. `Run.check` raises it.
    """

    def __init__(self, reason: str = "stopped by its handler") -> None:
        self.reason = _reason("Cancelled", reason)
        super().__init__(self.reason)


def _seconds(what: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
        raise InvalidArgument(
            f"{what} takes a number of seconds from 0 on, or a timedelta, up to a thousand years, not {value!r}"
        )
    return float(seconds)


def _reason(what: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{what} takes a reason, as text, not {value!r}")
    return value
