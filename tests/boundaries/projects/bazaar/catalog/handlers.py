from bazaar.billing.messages import InvoicePaid, SyncInvoice, billing
from bazaar.catalog import search, strays
from bazaar.catalog.messages import ArticleAdded, Catalog, RebuildIndex, catalog
from remit import Run, Skip

LIMIT = 100


@billing.handles(strays.CloseBooks)  # violates: foreign-registrar
def close_books(job: strays.CloseBooks, run: Run) -> None: ...


@catalog.handles(RebuildIndex)
async def rebuild(job: RebuildIndex, run: Run[Catalog]) -> None:
    await search.rebuild()
    run.enqueue(SyncInvoice(organization_id="1", invoice_id="1"))  # violates: foreign-enqueue
    run.publish(InvoicePaid(organization_id="1", invoice_id="1"))  # violates: foreign-publish event-loop
    run.publish(ArticleAdded(organization_id="1", sku="1"))


@catalog.on(InvoicePaid, name="unlock")
async def unlock(event: InvoicePaid, run: Run[Catalog]) -> None:
    if len(event.invoice_id) > LIMIT:
        raise Skip("too long")
    run.log.info("unlocked %s", event.invoice_id)
    run.enqueue(RebuildIndex(organization_id=event.organization_id))


@catalog.on(InvoicePaid, name="work-in-transaction")
async def in_transaction(event: InvoicePaid, run: Run[Catalog]) -> None:
    async with run.transaction() as tx:  # violates: inline-handler
        await tx.execute("update article set unlocked = true")


@catalog.on(InvoicePaid, name="work-with-services")
def with_services(event: InvoicePaid, run: Run[Catalog]) -> None:
    services = run.context
    services.articles.unlock(event.invoice_id)  # violates: inline-handler


@catalog.on(InvoicePaid, name="work-in-a-helper")
async def in_a_helper(event: InvoicePaid, run: Run[Catalog]) -> None:
    dispatch(event, run)
    work(event)  # violates: inline-handler


def dispatch(event: InvoicePaid, run: Run[Catalog]) -> None:
    run.enqueue(RebuildIndex(organization_id=event.organization_id))


def work(event: InvoicePaid) -> None:
    with open(event.invoice_id, "w") as file:
        file.write("unlocked")
