"""What is done about each job. Payloads hold ids; everything else is read fresh."""

import asyncio
from collections.abc import AsyncIterator

import httpx

from remit import DeadLetter, RetryAfter, Run, Skip
from shop.database import Database
from shop.files import replace_file
from shop.orders.invoices import euros, invoice_mail, render_invoice
from shop.orders.messages import BookPayment, EmailInvoice, NotifyWarehouse, Orders, RenderInvoice, orders
from shop.orders.models import Order
from shop.orders.services import MailServer, Services
from shop.settings import Settings


@orders.context
async def services() -> AsyncIterator[Services]:
    """Opened once per worker."""
    settings = Settings.from_environment()
    database = Database(settings.database_url)
    async with httpx.AsyncClient(base_url=settings.warehouse_url, timeout=settings.warehouse_timeout) as warehouse:
        yield Services(database, settings.invoices, MailServer(settings.mail_host, settings.mail_port), warehouse)
    database.close()


@orders.handles(BookPayment)
def book_payment(job: BookPayment, run: Run[Orders]) -> None:
    """Inside the database: the booking and the completion of this job are one commit, so it happens exactly once.

    It could be `async` with `run.transaction()`. On SQLite, where one writes at a time, a thread is done sooner.
    """
    sql = run.context.database.sql
    with run.sync.transaction() as tx:
        booked = tx.execute(
            sql(
                "INSERT INTO payment (order_number, amount_cents) SELECT number, total_cents FROM orders"
                " WHERE number = ? RETURNING amount_cents"
            ),
            [job.order],
        )
        if not booked:
            raise Skip(f"order {job.order} no longer exists")
        tx.execute(sql("UPDATE orders SET paid = true WHERE number = ?"), [job.order])
        run.result = f"booked {euros(booked[0][0])}"


@orders.handles(RenderInvoice)
def render(job: RenderInvoice, run: Run[Orders]) -> str:
    """It blocks, so it is a plain `def` and runs in a thread. A second run writes the same file once more."""
    path = run.context.invoice_file(job.order)
    replace_file(path, render_invoice(_read(job.order, run)))
    run.enqueue(EmailInvoice(order=job.order))  # sent with this run's success, in the same commit
    return path.name


@orders.handles(EmailInvoice)
def email_invoice(job: EmailInvoice, run: Run[Orders]) -> str:
    """Outside the database things happen at least once: a mail that goes out twice has the same Message-ID twice."""
    order = _read(job.order, run)
    invoice = run.context.invoice_file(job.order).read_text(encoding="utf-8")
    run.context.mail.send(invoice_mail(order, invoice, key=run.key))
    return f"sent to {order.email}"


@orders.handles(NotifyWarehouse)
async def notify_warehouse(job: NotifyWarehouse, run: Run[Orders]) -> str:
    """The same key on every attempt lets the warehouse pack a parcel once, even if its answer was lost."""
    order = await asyncio.to_thread(_read, job.order, run)
    answer = await run.context.warehouse.post(
        "/parcels",
        json={"order": order.number, "country": order.country, "lines": order.lines},
        headers={"Idempotency-Key": run.key},
    )
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise RetryAfter(float(answer.headers["Retry-After"]))
    if answer.is_client_error:
        raise DeadLetter(f"the warehouse refuses the order: {answer.text}")
    answer.raise_for_status()  # any other exception: tried again, by the policy of the job
    return f"parcel {answer.json()['parcel']}"


def _read(number: str, run: Run[Orders]) -> Order:
    with run.context.database.sessions() as session:
        order = session.get(Order, number)
    if order is None:
        raise Skip(f"order {number} no longer exists")
    return order
