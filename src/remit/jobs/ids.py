"""Identities that clients make: ids of jobs, and the tokens that prove a claim."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from uuid import UUID

_BEGINNING = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,27}")
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class IdSource:
    """UUIDv7 (RFC 9562, method 3 for the sub-millisecond bits), as text, each greater than the one before it.

    Ids of one process are ordered as they were made; ids of several are ordered to about a millisecond, as far as
    their clocks agree. Nothing in remit rests on that order.
    """

    def __init__(self) -> None:
        self._last = 0
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it when the process was forked

    def __call__(self) -> str:
        with self._lock:
            # 48 bits of milliseconds and 12 bits of 1/4096 ms, in one number that only grows.
            ticks = max(time.time_ns() * 4096 // 1_000_000, self._last + 1)
            self._last = ticks
        time_part, random = f"{ticks:015x}", os.urandom(8).hex()
        variant = _VARIANT[random[0]]
        return f"{time_part[:8]}-{time_part[8:12]}-7{time_part[12:]}-{variant}{random[1:4]}-{random[4:]}"


new_id = IdSource()


class TokenSource:
    """Nonces: a random start per process, plus a counter; positive 63-bit numbers, never used twice in practice."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # else the child would make the same ones as its parent

    def _begin(self) -> None:
        self._next = secrets.randbits(62)
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._next = (self._next + 1) % (1 << 63) or 1
            return self._next


new_token = TokenSource()


def holds_time(id: str) -> bool:
    """Whether an id is one that remit makes (UUIDv7), and so tells when its job was sent.

    The range, the years 2022 to 2039, lets the statement `list` find these in the primary key.
    """
    return "01800000" <= id < "02000000" and id[14:15] == "7"


def bounds_of(beginning: str) -> tuple[str, str] | None:
    """The lowest and the highest id that begin with some characters of an id, at least 8; None for any other text."""
    if not _BEGINNING.fullmatch(beginning):
        return None
    digits = beginning.replace("-", "")
    low, high = (str(UUID(digits.ljust(32, fill))) for fill in "0f")
    return (low, high) if low.startswith(beginning) else None
