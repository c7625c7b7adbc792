"""What is done about jobs of this domain, and about what others say."""

from collections.abc import AsyncIterator

import httpx

from remit import Run
from shop.billing.messages import InvoiceIssued
from shop.mail.letters import invoice_letter, office_letter, question_letter
from shop.mail.messages import EmailInvoice, EmailOffice, EmailQuestion, Mail, mail, pushes
from shop.mail.services import MailServer, Services
from shop.orders.messages import OrderMoved, ReturnPeriodEnded
from shop.settings import Settings
from shop.warehouse.messages import ParcelGivenUp


@mail.context
async def services() -> AsyncIterator[Services]:
    """Opened once per worker."""
    settings = Settings.from_environment()
    async with httpx.AsyncClient(base_url=settings.push_url, timeout=10) as app:
        yield Services(MailServer(settings.mail_host, settings.mail_port), settings.documents, app)


@mail.on(InvoiceIssued, name="send-invoice")
async def on_invoice_issued(event: InvoiceIssued, run: Run[Mail]) -> None:
    run.enqueue(
        EmailInvoice(order=event.order, email=event.email, total_cents=event.total_cents, document=event.document)
    )


@mail.on(ReturnPeriodEnded, name="ask-customer")
async def on_return_period_ended(event: ReturnPeriodEnded, run: Run[Mail]) -> None:
    run.enqueue(EmailQuestion(order=event.order, email=event.email))


@mail.on(ParcelGivenUp, name="tell-office")
async def on_parcel_given_up(event: ParcelGivenUp, run: Run[Mail]) -> None:
    run.enqueue(EmailOffice(job=event.job, reason=event.reason))


@mail.on(
    OrderMoved,
    name="push-to-app",
    queue=pushes,
    where={"channel": "app"},  # compared by the database: other events are never delivered
    ordered_by="order",  # the next event of an order comes when this one is done, through retries too
    inline="a job of its own would run in any order, and an old state would hide the new one",
)
async def push_to_app(event: OrderMoved, run: Run[Mail]) -> None:
    answer = await run.context.app.post(
        "/pushes",
        json={"order": event.order, "paid": event.paid, "sent": event.sent},
        headers={"Idempotency-Key": run.key},
    )
    answer.raise_for_status()


@mail.handles(EmailInvoice)
def email_invoice(job: EmailInvoice, run: Run[Mail]) -> str:
    """Outside the database things happen at least once: a mail that goes out twice has the same Message-ID twice."""
    invoice = (run.context.documents / job.document).read_text(encoding="utf-8")
    run.context.server.send(invoice_letter(job.order, job.email, job.total_cents, invoice, key=run.key))
    return f"sent to {job.email}"


@mail.handles(EmailQuestion)
def email_question(job: EmailQuestion, run: Run[Mail]) -> str:
    run.context.server.send(question_letter(job.order, job.email, key=run.key))
    return f"sent to {job.email}"


@mail.handles(EmailOffice)
def email_office(job: EmailOffice, run: Run[Mail]) -> None:
    run.context.server.send(office_letter(job.job, job.reason, key=run.key))
