"""As many jobs as were asked for, though a page holds a thousand."""

from __future__ import annotations

from collections.abc import Callable

from remit.client.jobs import LONGEST_PAGE
from remit.jobs.model import JobRecord, Page


def gather(
    page: Callable[[int, str | None], Page], limit: int, after: str | None
) -> tuple[list[JobRecord], str | None]:
    """Ask for pages, each by its limit and the end of the one before, until there are enough; and where to go on."""
    found: list[JobRecord] = []
    while True:
        one = page(min(limit - len(found), LONGEST_PAGE), after)
        found += one.jobs
        after = one.after
        if after is None or len(found) >= limit:
            return found, after
