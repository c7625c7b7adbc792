"""What this domain does. Nobody else may ask for it: others say what happened, and mail hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remit import Domain, Job, Retry

if TYPE_CHECKING:
    from shop.mail.services import Services


class Mail(Domain["Services"]):
    """What customers and the office are told, by mail and in the app."""


mail = Mail()

letters = mail.queue("letters", concurrency=8, retry=Retry(attempts=8))
pushes = mail.queue("pushes", concurrency=16, retry=Retry(attempts=8))


class EmailInvoice(Job[Mail], queue=letters):
    """Send an invoice to its customer."""

    order: str
    email: str
    total_cents: int
    document: str


class EmailQuestion(Job[Mail], queue=letters):
    """Ask a customer who kept an order how it was."""

    order: str
    email: str


class EmailOffice(Job[Mail], queue=letters):
    """Tell the office of a parcel that needs a person."""

    job: str
    reason: str
