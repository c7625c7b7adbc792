from __future__ import annotations

from dataclasses import dataclass

from bazaar.billing.owner import billing


@dataclass(frozen=True)
class Address:
    street: str


@dataclass
class Invoice:
    """An aggregate."""

    number: str

    events = billing.recorder()

    def archive(self) -> None:
        from bazaar.billing.messages import InvoiceArchived, InvoiceRead, SendReceipt

        self.events.record(InvoiceArchived(organization_id="1"))
        receipt = SendReceipt(invoice_id=self.number)
        self.events.record(receipt)
        for event in (InvoiceRead(organization_id="1"),):
            self.events.record(event)
