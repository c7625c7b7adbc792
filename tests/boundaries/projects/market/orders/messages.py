from dataclasses import dataclass
from typing import Literal

from market.orders.owner import Orders, bulk
from remit import Event, Job


@dataclass(frozen=True)
class Line:
    sku: str
    kind: Literal["<b>", 'say "hi"', "a|b"] = "<b>"


class ShipOrder(Job[Orders], queue=bulk):
    """Send | what was *ordered*."""

    organization_id: str
    order: str
    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, order: str) -> "ShipOrder":
        return cls(organization_id="1", order=order)


class OrderPlaced(Event[Orders], ordered_by="order"):
    organization_id: str
    order: str


class OrderSent(Event[Orders]):
    organization_id: str
    order: str


class OrderPaid(Event[Orders], audit_only=True):
    organization_id: str


class OrderSplitUp(Event[Orders], audit_only=True):
    organization_id: str


class OrderBecameLate(Event[Orders], audit_only=True):
    organization_id: str


class ItemAddedToBasket(Event[Orders], audit_only=True):
    organization_id: str
