"""What this domain does and says. The only module of it that other domains may import."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from remit import Domain, Event, Job
from shop.orders.messages import OrderLine

if TYPE_CHECKING:
    from shop.billing.services import Services


class Billing(Domain["Services"]):
    """Payments and invoices."""


billing = Billing()

payments = billing.queue("payments", concurrency=8)
invoices = billing.queue("invoices", concurrency=8)


class PaymentBooked(Event[Billing]):
    """The price of an order is in the ledger."""

    order: str
    amount_cents: int


class InvoiceIssued(Event[Billing]):
    """The invoice of an order lies among the documents of the shop, as `document`."""

    order: str
    email: str
    total_cents: int
    document: str


class BookPayment(Job[Billing], queue=payments):
    """Book what an order costs, exactly once, and note what its invoice has to say."""

    order: str
    day: date
    customer: str
    email: str
    country: str
    lines: tuple[OrderLine, ...]
    total_cents: int


class RenderInvoice(Job[Billing], queue=invoices):
    """Write an invoice to disk."""

    invoice: int
