"""Times on the command line: a date, a date with a time, or an age."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from remit.cli.exits import UsageError

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


def moment_of(option: str, text: str | None, now: datetime | None = None) -> datetime | None:
    """The time that an option means: `7d`, `90 min` are ages; ISO 8601 without a zone is in the local zone.

    Raises `UsageError`.
    """
    if text is None:
        return None
    try:
        if age := _AGE.fullmatch(text.strip()):
            return (now or datetime.now(UTC)) - timedelta(seconds=float(age[1]) * _UNITS[age[2]])
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is not a time: write an age (90s, 5min, 12h, 7d, 2w), a date (2026-01-31) or a date "
            "with a time (2026-01-31T13:00, 2026-01-31T13:00Z)"
        ) from None


def moment_ahead(option: str, text: str | None) -> datetime | None:
    """The time that an option of the future means: a date, or a date with a time. Raises `UsageError`."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is not a time: write a date (2026-01-31) or a date with a time (2026-01-31T13:00, "
            "2026-01-31T13:00Z)"
        ) from None
