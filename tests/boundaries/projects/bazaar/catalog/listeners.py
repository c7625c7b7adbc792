"""Nothing imports this module."""

from bazaar.billing.messages import InvoicePaid
from bazaar.catalog.messages import Catalog, RebuildIndex, catalog
from remit import Run


@catalog.on(InvoicePaid, name="second")  # violates: unloaded-handler
async def second(event: InvoicePaid, run: Run[Catalog]) -> None:
    run.enqueue(RebuildIndex(organization_id=event.organization_id))
