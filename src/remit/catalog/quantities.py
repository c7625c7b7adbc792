"""Durations, shares and counts as users write them, checked once, at the edge."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final, TypeAlias

from remit.errors import InvalidArgument

Duration: TypeAlias = float | timedelta
"""Seconds, or a `timedelta`."""

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_LONGEST: Final = 1000 * 365 * DAY  # a thousand years: beyond it, databases overflow


def in_seconds(what: str, value: Duration) -> float:
    """Return a duration in seconds. Raises `InvalidArgument`, naming `what`, unless it is finite and 0 or more."""
    duration = _number(what, value)
    if not 0 <= duration <= _LONGEST:
        raise InvalidArgument(f"{what} must be 0 seconds or more, and finite, not {value!r}.")
    return duration


def in_seconds_or_forever(what: str, value: Duration, *, zero: bool = False) -> float | None:
    """Return a duration in seconds, or None for `math.inf`, which means no limit; 0 only if `zero`."""
    duration = _number(what, value)
    if duration == math.inf:
        return None
    if not 0 <= duration <= _LONGEST or (duration == 0 and not zero):
        least = "0 seconds or more" if zero else "over 0 seconds"
        raise InvalidArgument(f"{what} must be {least}, or math.inf for no limit, not {value!r}.")
    return duration


def between(what: str, value: float, least: float, most: float) -> float:
    """Return a number within its bounds. Raises `InvalidArgument`, naming `what`."""
    number = math.nan if isinstance(value, timedelta) else _number(what, value)
    if not least <= number <= most:
        raise InvalidArgument(f"{what} must be a number from {least:g} to {most:g}, not {value!r}.")
    return number


def whole(what: str, value: float, least: int, most: int) -> int:
    """Return a whole number within its bounds. Raises `InvalidArgument`, naming `what`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidArgument(f"{what} must be a whole number from {least:,} to {most:,}, not {value!r}.")
    return value


def flag(what: str, value: object) -> bool:
    """Return a boolean. Raises `InvalidArgument`, naming `what`: any other value would count as true."""
    if not isinstance(value, bool):
        raise InvalidArgument(f"{what} must be True or False, not {value!r}.")
    return value


def _number(what: str, value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.nan  # compares with nothing, so every check refuses it
    raise InvalidArgument(f"{what} must be a number of seconds or a timedelta, not {value!r}.")
