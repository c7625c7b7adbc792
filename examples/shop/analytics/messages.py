"""What this domain does."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from remit import Domain, Job

if TYPE_CHECKING:
    from shop.analytics.services import Services


class Analytics(Domain["Services"]):
    """What the figures say."""


analytics = Analytics()

sales = analytics.queue("sales", concurrency=8)
reports = analytics.queue("reports", concurrency=1)


class BuildDailyReport(Job[Analytics], queue=reports, timeout=120):
    """Work out the figures of one day, of which so many orders are known to exist."""

    day: date
    orders: int
