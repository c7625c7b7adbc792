"""What other domains may ask of this one: plain values, never its tables."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.orders.models import Order


@dataclass(frozen=True, slots=True)
class Sale:
    """One order, as far as others need to know it."""

    number: str
    customer: str
    country: str
    channel: str
    total_cents: int
    skus: tuple[str, ...]


def sales_of(session: Session, day: date) -> list[Sale]:
    """The orders of one day, by number."""
    placed = session.scalars(select(Order).where(Order.day == day).order_by(Order.number))
    return [
        Sale(
            order.number,
            order.customer,
            order.country,
            order.channel,
            order.total_cents,
            tuple(line["sku"] for line in order.lines),
        )
        for order in placed
    ]
