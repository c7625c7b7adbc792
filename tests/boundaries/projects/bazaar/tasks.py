"""Registers what belongs to a domain, from outside."""

from bazaar.billing.messages import Billing, InvoicePaid, SendReminder, billing
from remit import Run


@billing.handles(SendReminder)  # violates: foreign-registrar
async def send_reminder(job: SendReminder, run: Run[Billing]) -> None:
    """It is in the package of nobody."""


@billing.on(InvoicePaid, name="stop-reminders")  # violates: foreign-registrar
async def stop_reminders(event: InvoicePaid, run: Run[Billing]) -> None:
    """Nor is this."""
