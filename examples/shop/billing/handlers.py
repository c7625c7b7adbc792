"""What is done about jobs of this domain, and about what others say."""

from collections.abc import Iterator

import msgspec

from remit import Run, Skip
from shop.billing.invoices import render_invoice
from shop.billing.messages import Billing, BookPayment, InvoiceIssued, PaymentBooked, RenderInvoice, billing
from shop.billing.models import Invoice
from shop.billing.services import Services
from shop.database import Database
from shop.files import replace_file
from shop.money import euros
from shop.orders.messages import OrderPlaced
from shop.settings import Settings


@billing.context
def services() -> Iterator[Services]:
    """Opened once per worker."""
    settings = Settings.from_environment()
    database = Database(settings.database_url)
    yield Services(database, settings.documents)
    database.close()


@billing.on(OrderPlaced, name="charge")
async def on_order_placed(event: OrderPlaced, run: Run[Billing]) -> None:
    """The job carries what billing needs of the event: nobody reads another domain's tables."""
    run.enqueue(
        BookPayment(
            order=event.order,
            day=event.day,
            customer=event.customer,
            email=event.email,
            country=event.country,
            lines=event.lines,
            total_cents=event.total_cents,
        )
    )


@billing.handles(BookPayment)
def book_payment(job: BookPayment, run: Run[Billing]) -> None:
    """Inside the database: booking, event, next job and completion are one commit, so it happens exactly once.

    It could be `async` with `run.transaction()`. On SQLite, where one writes at a time, a thread is done sooner.
    """
    sql = run.context.database.sql
    with run.sync.transaction() as tx:
        tx.execute(
            sql("INSERT INTO payment (order_number, amount_cents) VALUES (?, ?)"),
            [job.order, job.total_cents],
        )
        [(invoice,)] = tx.execute(
            sql(
                "INSERT INTO invoice (order_number, day, customer, email, country, lines, total_cents)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id"
            ),
            [
                job.order,
                job.day.isoformat(),
                job.customer,
                job.email,
                job.country,
                msgspec.json.encode(job.lines).decode(),
                job.total_cents,
            ],
        )
        run.publish(PaymentBooked(order=job.order, amount_cents=job.total_cents))
        run.enqueue(RenderInvoice(invoice=invoice))
        run.result = f"booked {euros(job.total_cents)}"


@billing.handles(RenderInvoice)
def render(job: RenderInvoice, run: Run[Billing]) -> str:
    """It blocks, so it is a plain `def` and runs in a thread. A second run writes the same file once more."""
    with run.context.database.sessions() as session:
        invoice = session.get(Invoice, job.invoice)
    if invoice is None:
        raise Skip(f"invoice {job.invoice} no longer exists")
    document = f"{invoice.order_number}.html"
    replace_file(run.context.documents / document, render_invoice(invoice))
    run.publish(  # with this run's success, in the same commit
        InvoiceIssued(
            order=invoice.order_number, email=invoice.email, total_cents=invoice.total_cents, document=document
        )
    )
    return document
