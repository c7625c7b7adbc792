"""The jobs of this domain."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from remit import Domain, Job

if TYPE_CHECKING:
    from shop.reports.services import Services


class Reports(Domain["Services"]):
    """What the figures say."""


reports = Reports()

daily = reports.queue("daily", concurrency=1)


class BuildDailyReport(Job[Reports], queue=daily, timeout=120):
    """Work out the figures of one day."""

    day: date
