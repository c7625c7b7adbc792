"""As many records as were asked for, though a page holds a thousand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from remit.client.jobs import LONGEST_PAGE

T = TypeVar("T")


def gather(
    page: Callable[[int, str | None], tuple[Sequence[T], str | None]], limit: int, after: str | None
) -> tuple[list[T], str | None]:
    """Ask for pages, each by its limit and the end of the one before, until there are enough; and where to go on."""
    found: list[T] = []
    while True:
        some, after = page(min(limit - len(found), LONGEST_PAGE), after)
        found += some
        if after is None or len(found) >= limit:
            return found, after
