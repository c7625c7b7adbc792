"""Outside all domains: it may send what it likes, by the verbs of the owner."""

from bazaar.billing.messages import InvoicePaid, SyncInvoice, billing
from bazaar.catalog.messages import catalog


def pay(invoice: str) -> None:
    billing.sync.publish(InvoicePaid(organization_id="1", invoice_id=invoice))
    billing.sync.enqueue(SyncInvoice(organization_id="1", invoice_id=invoice))
    billing.sync.enqueue_named("sync-invoice", {"organization_id": "1", "invoice_id": invoice})


def pay_wrongly(invoice: str) -> None:
    catalog.sync.enqueue(SyncInvoice(organization_id="1", invoice_id=invoice))  # violates: foreign-enqueue
    catalog.sync.enqueue_named("billing.sync-invoice", {})  # violates: foreign-enqueue
