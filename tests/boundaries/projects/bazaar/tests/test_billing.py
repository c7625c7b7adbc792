"""Tests are not looked at: they may reach into everything."""

from bazaar.billing.ledger import post
from bazaar.billing.messages import SyncInvoice
from bazaar.catalog.messages import catalog


async def test_it() -> None:
    await post("1")
    await catalog.enqueue(SyncInvoice(organization_id="1", invoice_id="1"))
