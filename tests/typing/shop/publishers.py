"""Who may publish and record what, and with which options."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from typing_extensions import Unpack

from remit.catalog import Event, EventRef, JobRef, Publisher, PublishOptions
from shop.messages import (
    Billing,
    CloseMonth,
    InvoicePaid,
    MonthClosed,
    StockLow,
    SyncInvoice,
    billing,
    catalog,
)

paid = InvoicePaid(invoice_id="1")
closed = MonthClosed(month=1, organization_id="o")
low = StockLow(product="p")
sync = SyncInvoice(invoice_id="1")


async def publish(tx: object, happened: datetime) -> list[EventRef]:
    ref: EventRef = await billing.publish(paid, tx=tx, occurred_at=happened, id=uuid4(), correlation=None)
    print(ref.id, ref.duplicate)
    await billing.publish(closed, id="0190c0de-0000-7000-8000-000000000000", correlation=UUID(int=0))
    await catalog.publish(low)
    await billing.publish_soon(paid, occurred_at=datetime.now(UTC))
    await billing.flush()
    later: JobRef = await billing.publish_later(paid, delay=timedelta(days=14), tx=tx, label="remind")
    print(later.id)
    return await billing.publish_many([paid, closed], tx=tx)


async def wrong_publish(happened: datetime) -> None:
    await catalog.publish(paid)  # E
    await billing.publish(low)  # E
    await billing.publish(sync)  # E
    await billing.publish(InvoicePaid)  # E
    await billing.publish("paid")  # E
    await billing.publish(paid, ocurred_at=happened)  # E
    await billing.publish(paid, occurred_at="today")  # E
    await billing.publish(paid, delay=3)  # E
    await billing.publish(paid, id=3)  # E
    await catalog.publish_many([paid])  # E
    await billing.publish_many([paid, sync])  # E
    await billing.publish_many([paid], ocurred_at=happened)  # E
    await catalog.publish_soon(paid)  # E
    await billing.publish_soon(sync)  # E
    await billing.publish_soon(paid, tx=None)  # E
    await catalog.publish_later(paid)  # E
    await billing.publish_later(sync)  # E
    await billing.publish_later(paid, occurred_at=happened)  # E


async def wrong_enqueue() -> None:
    await billing.enqueue(paid)  # E
    await billing.enqueue_many([sync, paid])  # E
    billing.sync.enqueue(paid)  # E


def blocking(happened: datetime) -> None:
    billing.sync.publish(paid, tx=None, occurred_at=happened)
    billing.sync.publish_many([paid, closed])
    billing.sync.publish_soon(paid)
    billing.sync.flush()
    billing.sync.publish_later(paid, delay=3)
    catalog.sync.publish(paid)  # E
    billing.sync.publish(sync)  # E
    catalog.sync.publish_many([paid])  # E
    catalog.sync.publish_soon(paid)  # E
    catalog.sync.publish_later(paid)  # E
    billing.sync.publish(paid, ocurred_at=happened)  # E
    billing.sync.publish_later(paid, dealy=3)  # E


class Invoice:
    events = billing.recorder()

    def pay(self) -> None:
        self.events.record(InvoicePaid(invoice_id="1"))
        self.events.record(closed)
        self.events.record(low)  # E
        self.events.record(sync)  # E


async def publish_recorded(invoice: Invoice, tx: object) -> None:
    invoice.events.record(low)  # E
    waiting: list[Event[Billing]] = invoice.events.take()
    await billing.publish_many(waiting)
    await catalog.publish_many(invoice.events.take())  # E
    refs: list[EventRef] = await billing.publish_recorded(invoice, invoice, tx=tx)
    print(len(refs), len(invoice.events))
    billing.sync.publish_recorded(invoice)


class FakePublisher:
    async def publish(
        self, event: Event[Billing], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> EventRef:
        return EventRef("1")

    async def publish_many(
        self, events: Iterable[Event[Billing]], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> list[EventRef]:
        return [EventRef("1") for _ in events]


class HalfAPublisher:
    async def publish(
        self, event: Event[Billing], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> EventRef:
        return EventRef("1")


async def use_case(publisher: Publisher[Billing], happened: datetime) -> None:
    await publisher.publish(paid, occurred_at=happened)
    await publisher.publish_many([closed])
    await publisher.publish(low)  # E
    await publisher.publish(CloseMonth(month=1, organization_id="o"))  # E
    await publisher.publish(paid, ocurred_at=happened)  # E


async def use_cases(happened: datetime) -> None:
    await use_case(billing, happened)
    await use_case(FakePublisher(), happened)
    await use_case(catalog, happened)  # E
    await use_case(HalfAPublisher(), happened)  # E
