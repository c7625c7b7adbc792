"""What the tests of `remit.testing` are about: two domains, whose handlers end in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from remit import DeadLetter, Domain, Event, Job, Retry, Run, Skip, Snooze, fixed


@dataclass
class Services:
    posted: list[str] = field(default_factory=list)


class Billing(Domain[Services], name="billing", handlers=__name__):
    """Invoices and payments."""


class Catalogue(Domain, name="catalogue", handlers=__name__):
    """What is sold."""


billing, catalogue = Billing(), Catalogue()
slow = billing.queue("slow", concurrency=1)


class SyncInvoice(Job[Billing], retry=Retry(attempts=3, backoff=fixed(60))):
    invoice_id: str
    how: str = "complete"


class PostLedger(Job[Billing], queue=slow):
    invoice_id: str


class InvoicePaid(Event[Billing]):
    invoice_id: str
    currency: str = "EUR"


class InvoiceVoided(Event[Billing], ordered_by="invoice_id"):
    invoice_id: str


class RebuildIndex(Job[Catalogue]):
    invoice_id: str


@billing.context
async def services() -> AsyncIterator[Services]:
    yield Services(["from the context"])


@billing.handles(SyncInvoice)
async def sync_invoice(job: SyncInvoice, run: Run[Billing]) -> str | None:
    match job.how:
        case "skip":
            raise Skip("no such invoice")
        case "snooze":
            raise Snooze(5)
        case "die":
            raise DeadLetter("cannot be mended")
        case "fail":
            run.enqueue(PostLedger(invoice_id=job.invoice_id))
            raise ValueError("the ledger is closed")
        case "last" if run.attempt < run.attempts:
            raise ValueError("not yet")
        case "hang":
            await asyncio.sleep(60)
        case "send":
            await billing.enqueue(PostLedger(invoice_id="by hand"))
        case "transact":
            async with run.transaction():
                run.publish(InvoicePaid(invoice_id=job.invoice_id))
                run.result = "in a transaction"
            return None
    run.context.posted.append(job.invoice_id)
    run.enqueue(PostLedger(invoice_id=job.invoice_id))
    run.publish(InvoicePaid(invoice_id=job.invoice_id))
    return run.context.posted[0]


@billing.handles(PostLedger)
def post_ledger(job: PostLedger, run: Run[Billing]) -> str:
    return f"posted {job.invoice_id} in attempt {run.attempt}"


@catalogue.handles(RebuildIndex)
async def rebuild_index(job: RebuildIndex, run: Run[Catalogue]) -> None: ...


@catalogue.on(InvoicePaid, name="unlock-downloads", where={"currency": "EUR"})
async def unlock_downloads(event: InvoicePaid, run: Run[Catalogue]) -> str:
    assert run.event is not None
    run.enqueue(RebuildIndex(invoice_id=event.invoice_id))
    return run.event.type


@catalogue.on(InvoiceVoided, name="lock-downloads", ordered_by="invoice_id", retry=Retry(attempts=1))
async def lock_downloads(event: InvoiceVoided, run: Run[Catalogue]) -> None:
    if event.invoice_id == "broken":
        raise RuntimeError("the lock is broken")
