"""Declarations."""

from __future__ import annotations

from datetime import date, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from remit.catalog import D, Domain, Event, Job, Keep, Retry, exponential, fixed

if TYPE_CHECKING:
    from shop.services import Services  # noqa: F401 - ruff does not see it in the bases of a class


class Billing(Domain["Services"], retry=Retry(attempts=5), timeout=timedelta(minutes=5)): ...


class Catalog(Domain, name="product-catalog", handlers="shop.catalog_handlers"): ...


class Misspelt(Domain, nmae="billing"): ...  # E


billing, catalog = Billing(), Catalog()
invoices = billing.queue("invoices", concurrency=10, retry=Retry(backoff=fixed(3)), keep=Keep(count=10))
billing.queue("slow", concurency=1)  # E


class SyncInvoice(
    Job[Billing],
    queue=invoices,
    name="billing.sync",
    version=2,
    aliases=("billing.push",),
    retry=Retry(attempts=5, backoff=exponential(5.0), give_up_on=(KeyError,)),
    timeout=30,
    priority=-1,
    keep=Keep(age=timedelta(hours=1)),
    expires=3600,
    max_payload=1000,
):
    invoice_id: str
    note: str = ""


class RebuildIndex(Job[Catalog], retry=Retry(backoff=lambda attempt, error: 3.0 * attempt)):
    shards: int


class TenantJob(Job[D], abstract=True):
    organization_id: str


class CloseMonth(TenantJob[Billing]):
    month: int


class Late(Job[Billing], timeuot=3):  # E
    n: int


class Loud(Job[Billing], retry=Retry(atempts=3)):  # E
    n: int


class Text(Job[Billing], priority="high"):  # E
    n: int


class Adrift(Job[Billing], queue="invoices"):  # E
    n: int


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class InvoicePaid(
    Event[Billing],
    name="billing.paid",
    version=2,
    aliases=("billing.settled",),
    ordered_by="invoice_id",
    keep=timedelta(days=90),
    max_payload=1000,
):
    invoice_id: str
    currency: Currency = Currency.EUR
    on: date | None = None


class StockLow(Event[Catalog], fact=True, audit_only=True, unscoped="a shelf belongs to nobody"):
    product: str


class TenantEvent(Event[D], abstract=True):
    organization_id: str


class MonthClosed(TenantEvent[Billing]):
    month: int


class Loose(Event[Billing], orderd_by="n"):  # E
    n: int


class Queued(Event[Billing], queue=invoices):  # E
    n: int


class Exempt(Event[Billing], unscoped=True):  # E
    n: int


class Kept(Event[Billing], keep="90 days"):  # E
    n: int


SyncInvoice(invoice_id="1", note="")
SyncInvoice(invoice_id=3)  # E
SyncInvoice(invioce_id="1")  # E
SyncInvoice("1")  # E
CloseMonth(month=3)  # E
CloseMonth(month=3, organization_id="o")
SyncInvoice(invoice_id="1").note = "frozen"  # E
InvoicePaid(invoice_id="1", currency=Currency.USD)
InvoicePaid(invoice_id=3)  # E
InvoicePaid(invioce_id="1")  # E
InvoicePaid(invoice_id="1", currency="EUR")  # E
InvoicePaid("1")  # E
MonthClosed(month=3)  # E
MonthClosed(month=3, organization_id="o")
InvoicePaid(invoice_id="1").on = None  # E
