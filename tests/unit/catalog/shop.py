"""A small application to publish from: two bound domains, and a door that keeps what it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remit.catalog import (
    Binding,
    Catalog,
    Defaults,
    Domain,
    EnqueueRequest,
    Event,
    EventRef,
    Job,
    JobRef,
    PublishRequest,
)


class Door:
    """A sender that keeps what it was given, and by which verb."""

    in_use = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, object | None]] = []
        self.refusals: list[tuple[str, str, str]] = []

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        return self.send_blocking(requests, tx=tx)

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        self.sent += [("enqueue", request, tx) for request in requests]
        return [JobRef(str(number)) for number in range(len(requests))]

    async def publish(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        return self.publish_blocking(requests, tx=tx)

    def publish_blocking(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        self.sent += [("publish", request, tx) for request in requests]
        return [EventRef(str(number)) for number in range(len(requests))]

    async def publish_soon(self, request: PublishRequest) -> EventRef:
        return self.publish_soon_blocking(request)

    def publish_soon_blocking(self, request: PublishRequest) -> EventRef:
        self.sent.append(("publish_soon", request, None))
        return EventRef("soon")

    async def flush(self) -> None:
        self.flush_blocking()

    def flush_blocking(self) -> None:
        self.sent.append(("flush", None, None))

    def refused(self, domain: str, message: str, kind: str) -> None:
        self.refusals.append((domain, message, kind))


class Shop:
    """Two bound domains with a job and an event each, declared anew for each test."""

    def __init__(self, *, scope: Sequence[str] = ()) -> None:
        class Billing(Domain[str]): ...

        class Catalogue(Domain): ...

        class SyncInvoice(Job[Billing]):
            invoice_id: str

        class InvoicePaid(Event[Billing], ordered_by="invoice_id", aliases=("old.invoice-settled",)):
            invoice_id: str
            organization_id: str = "o"

        class RebuildIndex(Job[Catalogue]):
            shards: int = 1

        class IndexRebuilt(Event[Catalogue]):
            shards: int = 1

        self.Billing, self.Catalogue = Billing, Catalogue
        self.SyncInvoice, self.InvoicePaid = SyncInvoice, InvoicePaid
        self.RebuildIndex, self.IndexRebuilt = RebuildIndex, IndexRebuilt
        self.billing: Any = Billing()
        self.catalogue: Any = Catalogue()
        self.paid = InvoicePaid(invoice_id="1")
        self.door = Door()
        self.catalog = Catalog([self.billing, self.catalogue], Defaults(max_payload=1_000), scope=scope)

    def open(self) -> Shop:
        for domain in self.catalog.domains:
            domain.rebind(Binding("Remit('sqlite://')", self.door, self.catalog))
        return self
