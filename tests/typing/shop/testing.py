"""What tests may say: the types of fakes, of what was sent, and of what a scenario waits for."""

from __future__ import annotations

from remit import EventRecord, JobRecord, Publisher, Remit, Scheduler
from remit.catalog import JobRef
from remit.testing import Fake, Found, Scenario, enqueued, perform, published, watching
from shop.messages import Billing, Catalog, InvoicePaid, RebuildIndex, SyncInvoice, billing


def use(scheduler: Scheduler[Billing], publisher: Publisher[Billing]) -> None: ...


def use_other(scheduler: Scheduler[Catalog]) -> None: ...


fake = Fake(billing)
use(fake, fake)
use_other(fake)  # E


async def send() -> None:
    await fake.enqueue(SyncInvoice(invoice_id="1"), delay=3)
    await fake.enqueue(RebuildIndex(shards=1))  # E
    await fake.enqueue(SyncInvoice(invoice_id="1"), dealy=3)  # E
    await fake.publish(SyncInvoice(invoice_id="1"))  # E
    fake.sync.enqueue(SyncInvoice(invoice_id="1"))
    fake.sync.enqueue(RebuildIndex(shards=1))  # E


def asserted() -> str:
    job: SyncInvoice = enqueued(SyncInvoice).matching(invoice_id="1").once()
    one: Found[SyncInvoice, JobRecord] = enqueued(SyncInvoice).one
    events: list[InvoicePaid] = list(published(InvoicePaid))
    records: list[EventRecord] = published(InvoicePaid).records
    published(InvoicePaid).matching(lambda event: event.invoice_id == "1").none()
    published(InvoicePaid).matching(lambda event: event.invoice == "1")  # E
    print(job, events, records)
    published(SyncInvoice)  # E
    enqueued(InvoicePaid)  # E
    return one.record.queue


async def waited(app: Remit, ref: JobRef) -> str:
    with watching(app) as seen:
        seen.published(InvoicePaid).once()
    async with Scenario(app) as scenario:
        paid: InvoicePaid = await scenario.event(InvoicePaid, invoice_id="1")
        await scenario.event(SyncInvoice)  # E
        job: JobRecord = await scenario.job(ref, state="dead")
    done = await perform(SyncInvoice(invoice_id="1"))
    await perform(InvoicePaid(invoice_id="1"))  # E
    print(paid, done.result)
    return job.queue
