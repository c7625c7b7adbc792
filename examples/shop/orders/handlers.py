"""What is done about jobs of this domain, and about what others say."""

from collections.abc import Iterator

from sqlalchemy import update

from remit import Run
from shop.billing.messages import PaymentBooked
from shop.database import Database
from shop.orders.messages import MarkPaid, MarkSent, OrderMoved, Orders, orders
from shop.orders.models import Order
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
    _mark({"paid": True}, job.order, run)


@orders.handles(MarkSent)
def mark_sent(job: MarkSent, run: Run[Orders]) -> None:
    _mark({"sent": True}, job.order, run)


def _mark(news: dict[str, bool], number: str, run: Run[Orders]) -> None:
    """The change, the event about it and the completion of the job are one commit of this session, or none.

    Payment and parcel come in any order. Whichever comes second waits for the first here, and then says both.
    """
    change = update(Order).where(Order.number == number).values(**news).returning(Order.channel, Order.paid, Order.sent)
    with run.context.database.sessions.begin() as session:
        channel, paid, sent = session.execute(change.execution_options(synchronize_session=False)).one().tuple()
        run.publish(OrderMoved(order=number, channel=channel, paid=paid, sent=sent))
        run.sync.complete(tx=session)
