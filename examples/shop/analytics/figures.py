"""The figures of a day. Nothing here reads or writes anything; it keeps a processor busy."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from statistics import fmean, quantiles

from shop.analytics.models import Sale

RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class DailyReport:
    day: date
    orders: int
    revenue_cents: int
    basket_cents: float
    """What an order costs on average, and between which bounds that average lies with 95 % confidence."""
    basket_low_cents: float
    basket_high_cents: float
    by_country: dict[str, int]
    by_channel: dict[str, int]
    bought_together: list[tuple[str, str, int]]


def daily_report(day: date, sales: Sequence[Sale]) -> DailyReport:
    """Work out a day; the same sales give the same report."""
    totals = [sale.total_cents for sale in sales]
    low, high = _bounds(totals, random.Random(day.toordinal()))
    pairs = Counter(pair for sale in sales for pair in combinations(sorted(set(sale.skus)), 2))
    by_country: Counter[str] = Counter()
    by_channel: Counter[str] = Counter()
    for sale in sales:
        by_country[sale.country] += sale.total_cents
        by_channel[sale.channel] += sale.total_cents
    return DailyReport(
        day=day,
        orders=len(sales),
        revenue_cents=sum(totals),
        basket_cents=fmean(totals) if totals else 0.0,
        basket_low_cents=low,
        basket_high_cents=high,
        by_country=dict(by_country.most_common()),
        by_channel=dict(by_channel.most_common()),
        bought_together=[(one, other, count) for (one, other), count in pairs.most_common(10)],
    )


def _bounds(totals: Sequence[int], chance: random.Random) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean."""
    if not totals:
        return 0.0, 0.0
    means = [fmean(chance.choices(totals, k=len(totals))) for _ in range(RESAMPLES)]
    cuts = quantiles(means, n=40)
    return cuts[0], cuts[-1]
