"""Every spelling of sending what belongs to another domain."""

from dataclasses import dataclass, replace
from typing import Protocol

import bazaar.billing.messages as theirs
from bazaar.billing import messages as again
from bazaar.billing.messages import Billing, InvoicePaid, SyncInvoice, billing
from bazaar.catalog.messages import Catalog, RebuildIndex, catalog
from remit import Job, Scheduler
from remit.boundaries import Violation

NAME = "billing.sync-invoice"


async def by_class(invoice: str) -> None:
    await billing.enqueue(SyncInvoice(organization_id="1", invoice_id=invoice))  # violates: foreign-enqueue
    await catalog.enqueue(SyncInvoice(organization_id="1", invoice_id=invoice))  # violates: foreign-enqueue
    again.billing.sync.enqueue(again.SyncInvoice(organization_id="1", invoice_id="1"))  # violates: foreign-enqueue
    await theirs.billing.enqueue(  # violates: foreign-enqueue
        theirs.SyncInvoice(organization_id="1", invoice_id="1"),
        delay=3,
    )


async def by_name() -> None:
    await billing.enqueue_named("sync-invoice", {})  # violates: foreign-enqueue
    await catalog.enqueue_named("billing.sync-invoice", {})  # violates: foreign-enqueue
    await catalog.enqueue_named(NAME, {})  # violates: foreign-enqueue
    await catalog.enqueue_named(name="billing.sync-invoice", payload={})  # violates: foreign-enqueue
    await catalog.enqueue_named("rebuild-index", {"organization_id": "1"})
    await catalog.enqueue_named("catalog.rebuild-index", {"organization_id": "1"})
    await catalog.enqueue_named("rebuild-indexes", {})  # violates: unknown-job


async def by_variable(invoice: str, many: bool, given: SyncInvoice) -> None:
    job = SyncInvoice(organization_id="1", invoice_id=invoice)
    await billing.enqueue(job)  # violates: foreign-enqueue
    await billing.enqueue(replace(job, invoice_id="2"))  # violates: foreign-enqueue
    await billing.enqueue(given)  # violates: foreign-enqueue
    jobs: list[Job[Billing]] = []
    jobs.append(job)
    await billing.enqueue_many(jobs)  # violates: foreign-enqueue
    await billing.enqueue_many(  # violates: foreign-enqueue
        [SyncInvoice(organization_id="1", invoice_id=x) for x in "12"]
    )
    await catalog.enqueue(RebuildIndex(organization_id="1") if many else job)  # violates: foreign-enqueue
    send = billing.enqueue
    await send(made(invoice))  # violates: foreign-enqueue


def made(invoice: str) -> SyncInvoice:
    return SyncInvoice(organization_id="1", invoice_id=invoice)


@dataclass
class UseCase:
    theirs: Scheduler[Billing]
    ours: Scheduler[Catalog]

    async def run(self) -> None:
        await self.theirs.enqueue(self.build())  # violates: foreign-enqueue
        await self.ours.enqueue(RebuildIndex(organization_id="1"))

    def build(self) -> "SyncInvoice":
        return SyncInvoice(organization_id="1", invoice_id="1")


class Recording:
    events = billing.recorder()

    def pay(self) -> None:
        self.events.record(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish


async def publish(scheduler: "Scheduler[Billing]") -> None:
    await scheduler.enqueue(SyncInvoice(organization_id="1", invoice_id="1"))  # violates: foreign-enqueue
    await billing.publish(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish
    await billing.publish_soon(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish
    await billing.publish_later(InvoicePaid(organization_id="1", invoice_id="1"), delay=3)  # violates: foreign-publish
    billing.sync.publish_many([InvoicePaid(organization_id="1", invoice_id="1")])  # violates: foreign-publish


def publish_elsewhere(bus: object, found: Violation) -> None:
    """Other libraries have verbs of these names too."""
    bus.publish("invoice paid")  # type: ignore[attr-defined]
    bus.enqueue(found, "billing.sync-invoice")  # type: ignore[attr-defined]


class Port(Protocol):
    def publish(self, event: InvoicePaid) -> None: ...


def through_what_cannot_be_told(bus, port: Port, event: InvoicePaid, job: SyncInvoice) -> None:
    """What was heard may go on; what is made, or a job of another, may not."""
    bus.publish(event)
    port.publish(event)
    bus.publish(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish
    port.publish(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish
    bus.enqueue(job)  # violates: foreign-enqueue
