"""What this domain does and says. The only module of it that other domains may import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit import Domain, Event, Job, Retry
from shop.orders.messages import OrderLine

if TYPE_CHECKING:
    from shop.warehouse.services import Services


class Warehouse(Domain["Services"]):
    """Parcels, by the webhook of the warehouse, which fails at times."""


warehouse = Warehouse()

parcels = warehouse.queue("parcels", concurrency=16)


class ParcelSent(Event[Warehouse]):
    """A parcel is packed, and on its way."""

    order: str
    parcel: str


class ParcelGivenUp(Event[Warehouse]):
    """The warehouse will not pack a parcel until a person has looked at it: `job` is the dead letter."""

    job: str
    reason: str


class SendParcel(Job[Warehouse], queue=parcels, retry=Retry(attempts=8), timeout=60):
    """Tell the warehouse what to pack."""

    order: str
    country: str
    lines: tuple[OrderLine, ...]
