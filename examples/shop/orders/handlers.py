"""What is done about jobs of this domain, and about what others say."""

from collections.abc import Iterator

from remit import Run
from shop.billing.messages import PaymentBooked
from shop.database import Database
from shop.orders.messages import MarkPaid, MarkSent, OrderMoved, Orders, orders
from shop.orders.services import Services
from shop.settings import Settings
from shop.warehouse.messages import ParcelSent


@orders.context
def services() -> Iterator[Services]:
    """Opened once per worker."""
    database = Database(Settings.from_environment().database_url)
    yield Services(database)
    database.close()


# Who hears an event decides what is to be done; a job does it. Each subscription has its own deliveries and retries.


@orders.on(PaymentBooked, name="note-payment")
async def on_payment_booked(event: PaymentBooked, run: Run[Orders]) -> None:
    run.enqueue(MarkPaid(order=event.order))


@orders.on(ParcelSent, name="note-parcel")
async def on_parcel_sent(event: ParcelSent, run: Run[Orders]) -> None:
    run.enqueue(MarkSent(order=event.order))


@orders.handles(MarkPaid)
def mark_paid(job: MarkPaid, run: Run[Orders]) -> None:
    _mark("paid", job.order, run)


@orders.handles(MarkSent)
def mark_sent(job: MarkSent, run: Run[Orders]) -> None:
    _mark("sent", job.order, run)


def _mark(column: str, order: str, run: Run[Orders]) -> None:
    """The change, the event about it and the completion of the job are one commit.

    Payment and parcel come in any order. Whichever comes second waits for the first here, and then says both.
    """
    sql = run.context.database.sql(f"UPDATE orders SET {column} = true WHERE number = ? RETURNING channel, paid, sent")
    with run.sync.transaction() as tx:
        [(channel, paid, sent)] = tx.execute(sql, [order])
        run.publish(OrderMoved(order=order, channel=channel, paid=bool(paid), sent=bool(sent)))
