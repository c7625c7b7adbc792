"""Any number of records, in pages of at most a thousand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from remit.client.jobs import LONGEST_PAGE

T = TypeVar("T")


def gather(
    page: Callable[[int, str | None], tuple[Sequence[T], str | None]], limit: int, after: str | None
) -> tuple[list[T], str | None]:
    """Request pages, each by its limit and the end of the one before, until there are enough; and the next position."""
    found: list[T] = []
    while True:
        some, after = page(min(limit - len(found), LONGEST_PAGE), after)
        found += some
        if after is None or len(found) >= limit:
            return found, after
