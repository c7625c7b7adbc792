"""Declarations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from remit.catalog import D, Domain, Job, Keep, Retry, exponential, fixed

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


SyncInvoice(invoice_id="1", note="")
SyncInvoice(invoice_id=3)  # E
SyncInvoice(invioce_id="1")  # E
SyncInvoice("1")  # E
CloseMonth(month=3)  # E
CloseMonth(month=3, organization_id="o")
SyncInvoice(invoice_id="1").note = "frozen"  # E
