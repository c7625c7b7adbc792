"""What this domain does and says: plain values, cheap to import. Other domains may import this module alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from remit import Domain, Event, Job

if TYPE_CHECKING:
    from shop.orders.services import Services


class Orders(Domain["Services"]):
    """Orders and the stock, from the customer's click until the parcel is on its way."""


orders = Orders()

updates = orders.queue("updates", concurrency=8)


# What others may hear. An event carries what its listeners need, so that nobody has to ask for more.


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order, as it was when it was placed."""

    sku: str
    title: str
    quantity: int
    price_cents: int


class OrderPlaced(Event[Orders]):
    """A customer ordered, and the pieces are reserved."""

    order: str
    day: date
    customer: str
    email: str
    country: str
    channel: str
    lines: tuple[OrderLine, ...]
    total_cents: int


class OrderMoved(Event[Orders], ordered_by="order"):
    """An order is paid, or sent, by now. The last word counts, so the events of one order come in their order."""

    order: str
    channel: str
    paid: bool
    sent: bool


class ReturnPeriodEnded(Event[Orders]):
    """What was ordered by phone, unseen, can no longer be returned."""

    order: str
    email: str


class DayClosed(Event[Orders]):
    """No more orders of a day are taken: so many were placed."""

    day: date
    orders: int


# What this domain does by itself.


class MarkPaid(Job[Orders], queue=updates):
    """Note that an order is paid."""

    order: str


class MarkSent(Job[Orders], queue=updates):
    """Note that an order is on its way."""

    order: str
