from dataclasses import dataclass
from typing import Any

from bazaar.billing.invoices import Address, Invoice
from bazaar.billing.models import Row
from bazaar.billing.owner import Billing, billing
from remit import Event, Job

__all__ = ["Billing", "billing"]


class SyncInvoice(Job[Billing]):
    organization_id: str
    invoice_id: str


class SendReminder(Job[Billing]):
    organization_id: str


class Rebuild(Job[Billing], unscoped="of all tenants at once"):
    """Carries no scope, and says why."""


class Forget(Job[Billing]):  # violates: missing-scope
    invoice_id: str


class Archive(Job[Billing]):  # violates: missing-handler
    organization_id: str


@dataclass(frozen=True)
class Line:
    sku: str
    row: Row | None = None


class PrintInvoice(Job[Billing]):
    organization_id: str
    to: Address
    invoice: Invoice  # violates: entity-in-payload
    lines: list[Line]  # violates: entity-in-payload


class InvoicePaid(Event[Billing]):
    organization_id: str
    invoice_id: str


class InvoiceVoided(Event[Billing]):  # violates: unpublished-event unheard-event
    organization_id: str


class InvoiceArchived(Event[Billing]):  # violates: unheard-event
    organization_id: str


class InvoiceRead(Event[Billing], audit_only=True):
    organization_id: str


class TariffChanged(Event[Billing], audit_only=True):
    organization_id: str


class SendReceipt(Event[Billing], audit_only=True):  # violates: not-a-fact missing-scope
    invoice_id: str


class StockLow(Event[Billing], audit_only=True, fact=True):
    organization_id: str


class LowWater(Event[Billing], audit_only=True):
    organization_id: str


class InvoiceSplit(Event[Billing], audit_only=True):
    """Published by what cannot be told apart; the class is built, so it gets the benefit of the doubt."""

    organization_id: str


MADE: dict[str, Any] = {}
