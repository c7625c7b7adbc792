"""What domains do about events, and about jobs that died."""

from __future__ import annotations

from datetime import date, timedelta

from remit.catalog import Envelope, JobDied, Keep, Retry, Run, exponential
from shop.messages import (
    Billing,
    Catalog,
    CloseMonth,
    Currency,
    InvoicePaid,
    MonthClosed,
    RebuildIndex,
    StockLow,
    SyncInvoice,
    billing,
    catalog,
    invoices,
)

images = catalog.queue("images")


@catalog.on(InvoicePaid, name="unlock-downloads", where={"currency": ["EUR", Currency.USD], "on": date(2026, 1, 2)})
async def unlock_downloads(event: InvoicePaid, run: Run[Catalog]) -> str:
    run.enqueue(RebuildIndex(shards=len(event.invoice_id)), delay=3)
    run.publish(StockLow(product="p"), correlation=run.event.correlation if run.event else None)
    run.enqueue(SyncInvoice(invoice_id=event.invoice_id))  # E
    run.publish(event)  # E
    run.publish(RebuildIndex(shards=1))  # E
    run.enqueue(StockLow(product="p"))  # E
    run.publish(StockLow(product="p"), occured_at=None)  # E
    return event.invoce_id  # E


@catalog.on(
    InvoicePaid,
    name="count",
    aliases=("tally",),
    where=lambda event: event.currency is Currency.EUR,
    queue=images,
    retry=Retry(attempts=9, backoff=exponential(1)),
    timeout=30,
    priority=3,
    keep=Keep(age=60),
    expires=3600,
    ordered_by="invoice_id",
    on_dead="pass",
    stale_after=timedelta(minutes=5),
    inline="it only counts",
    mode="process",
)
def count(event: InvoicePaid, run: Run[Catalog]) -> None:
    if run.event is not None:
        envelope: Envelope = run.event
        print(envelope.id, envelope.occurred_at.isoformat(), envelope.scope.get("organization_id"), run.key)
        print(envelope.ocurred_at)  # E
    print(run.event.id)  # E


@billing.on(InvoicePaid, name="own")
async def own(event: InvoicePaid, run: Run[Billing]) -> None:
    print(run.context.currency, event.on)
    run.publish(MonthClosed(month=1, organization_id="o"))


def is_large(event: MonthClosed) -> bool:
    return event.month > 3


@billing.on(MonthClosed, name="large", where=is_large)
def large(event: MonthClosed, run: Run[Billing]) -> None: ...


@billing.on(InvoicePaid, name="other-condition", where=is_large)  # E
def other_condition(event: InvoicePaid, run: Run[Billing]) -> None: ...


@billing.on(InvoicePaid, name="no-condition", where="currency")  # E
def no_condition(event: InvoicePaid, run: Run[Billing]) -> None: ...


@catalog.on(InvoicePaid, name="wrong-event")  # E
async def wrong_event(event: StockLow, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid, name="wrong-run")  # E
async def wrong_run(event: InvoicePaid, run: Run[Billing]) -> None: ...


@catalog.on(InvoicePaid, name="no-run")  # E
async def no_run(event: InvoicePaid) -> None: ...


@catalog.on(SyncInvoice, name="no-event")  # E
async def no_event(event: SyncInvoice, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid)  # E
async def no_name(event: InvoicePaid, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid, name="misspelt", wehre={"currency": "EUR"})  # E
async def misspelt(event: InvoicePaid, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid, name="dead", on_dead="stop")  # E
async def dead(event: InvoicePaid, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid, name="queue", queue=invoices)  # E
async def foreign_queue(event: InvoicePaid, run: Run[Catalog]) -> None: ...


@catalog.on(InvoicePaid, name="inline", inline=True)  # E
async def inline(event: InvoicePaid, run: Run[Catalog]) -> None: ...


@billing.exhausted(SyncInvoice, CloseMonth, "own", name="tell-finance", retry=Retry(attempts=9), queue=invoices)
async def tell_finance(died: JobDied, run: Run[Billing]) -> None:
    print(died.job, died.failures, died.event, run.context.currency)
    run.enqueue(SyncInvoice(invoice_id=died.job))


@billing.exhausted(RebuildIndex, name="foreign")  # E
async def foreign(died: JobDied, run: Run[Billing]) -> None: ...


@billing.exhausted(InvoicePaid, name="not-a-job")  # E
async def not_a_job(died: JobDied, run: Run[Billing]) -> None: ...


@billing.exhausted(SyncInvoice, name="job")  # E
async def not_the_job(died: SyncInvoice, run: Run[Billing]) -> None: ...


@billing.exhausted(SyncInvoice, name="other-run")  # E
async def other_run(died: JobDied, run: Run[Catalog]) -> None: ...


@billing.exhausted(SyncInvoice, name="other-queue", queue=images)  # E
async def other_queue(died: JobDied, run: Run[Billing]) -> None: ...


@billing.exhausted(SyncInvoice)  # E
async def nameless(died: JobDied, run: Run[Billing]) -> None: ...
