"""Times, counts and foreign texts, formatted for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_CONTROLS: Mapping[int, str] = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
} | {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))}


def span(seconds: float) -> str:
    """A duration in one unit, of which there are at least two: `0.3 s`, `90 s`, `5 min`, `47 h`, `3 d`."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size):,} {unit}"
    return f"{seconds:.0f} s" if seconds >= 0.95 or seconds < 0.05 else f"{seconds:.1f} s"


def ago(at: datetime, now: datetime | None = None) -> str:
    """The distance of a time from now: `3 min ago`, `in 5 s`, `now`."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if abs(seconds) < 0.5:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def clock(at: datetime) -> str:
    """A time in the local zone, to the second, with the zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def moment(at: datetime | None) -> str:
    """A time in both forms; a dash for none."""
    return "-" if at is None else f"{clock(at)} ({ago(at)})"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 job`, `1,234 jobs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def rate(per_second: float) -> str:
    """A rate per second, with two significant digits."""
    if per_second == 0:
        return "0/s"
    digits = 2 if per_second < 1 else 1 if per_second < 100 else 0
    return f"{per_second:,.{digits}f}/s"


def visible(text: str) -> str:
    """A foreign text for a terminal: control characters are escaped."""
    return text.translate(_CONTROLS)


def line(text: str) -> str:
    """A foreign text as one line."""
    return visible(re.sub(r"\s+", " ", text).strip())
