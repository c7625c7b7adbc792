"""The jobs of this domain: plain values, cheap to import. Only workers import what is done about them, `handlers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit import Domain, Job, Retry

if TYPE_CHECKING:
    from shop.orders.services import Services


class Orders(Domain["Services"]):
    """Orders, from the customer's click to the warehouse."""


orders = Orders()

payments = orders.queue("payments", concurrency=8)
invoices = orders.queue("invoices", concurrency=8)
mails = orders.queue("mails", concurrency=8)
warehouse = orders.queue("warehouse", concurrency=16)


class BookPayment(Job[Orders], queue=payments):
    """Book what an order costs, exactly once."""

    order: str


class RenderInvoice(Job[Orders], queue=invoices):
    """Write the invoice of an order to disk, and then send it."""

    order: str


class EmailInvoice(Job[Orders], queue=mails, retry=Retry(attempts=8)):
    """Send an invoice to its customer."""

    order: str


class NotifyWarehouse(Job[Orders], queue=warehouse, retry=Retry(attempts=8), timeout=60):
    """Tell the warehouse what to pack, by its webhook, which fails at times."""

    order: str
