from bazaar.billing import ledger
from bazaar.billing.messages import Billing, Forget, InvoicePaid, PrintInvoice, Rebuild, SyncInvoice, billing
from bazaar.catalog.messages import ArticleAdded
from remit import Run


@billing.handles(SyncInvoice)
async def sync(job: SyncInvoice, run: Run[Billing]) -> None:
    async with run.transaction() as tx:
        await tx.execute("select 1")


@billing.handles(Rebuild)
async def rebuild(job: Rebuild, run: Run[Billing]) -> None:
    await ledger.post("1")


@billing.handles(Forget)
def forget(job: Forget, run: Run[Billing]) -> None:
    run.publish(InvoicePaid(organization_id="1", invoice_id=job.invoice_id))


@billing.handles(PrintInvoice)
def render(job: PrintInvoice, run: Run[Billing]) -> None: ...


@billing.on(ArticleAdded, name="price-it")
async def price_it(event: ArticleAdded, run: Run[Billing]) -> None:
    run.enqueue(SyncInvoice(organization_id=event.organization_id, invoice_id=event.sku))
    await ledger.post(event.sku)  # publishes, and no more
    await ledger.settle(event.sku)  # violates: inline-handler


@billing.on(ArticleAdded, name="count-it", inline="a counter in memory")
async def count_it(event: ArticleAdded, run: Run[Billing]) -> None:
    await ledger.settle(event.sku)
