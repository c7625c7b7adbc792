"""What is done about jobs of this domain, and about what others say."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import select

from remit import Run, Snooze
from shop.analytics.figures import daily_report
from shop.analytics.messages import Analytics, BuildDailyReport, analytics, sales
from shop.analytics.models import Sale
from shop.analytics.services import Services
from shop.database import Database
from shop.files import replace_file
from shop.orders.messages import DayClosed, OrderPlaced
from shop.settings import Settings


@analytics.context
def services() -> Iterator[Services]:
    """Opened once per worker, and once in each of its child processes: not async, since those have no event loop."""
    settings = Settings.from_environment()
    database = Database(settings.database_url)
    yield Services(database, settings.reports)
    database.close()


@analytics.on(OrderPlaced, name="count-sale", queue=sales, inline="one row, in the commit of the delivery itself")
def count_sale(event: OrderPlaced, run: Run[Analytics]) -> None:
    """The figures hold every order exactly once: the row and the completion of the delivery are one commit."""
    sale = Sale(
        order_number=event.order,
        day=event.day,
        country=event.country,
        channel=event.channel,
        total_cents=event.total_cents,
        skus=[line.sku for line in event.lines],
    )
    with run.context.database.sessions.begin() as session:
        session.add(sale)
        run.sync.complete(tx=session)


@analytics.on(DayClosed, name="report-day")
async def on_day_closed(event: DayClosed, run: Run[Analytics]) -> None:
    run.enqueue(BuildDailyReport(day=event.day, orders=event.orders), label=f"report of {event.day}")


@analytics.handles(BuildDailyReport, mode="process")
def build_daily_report(job: BuildDailyReport, run: Run[Analytics]) -> str:
    """Arithmetic would hold up the event loop, and all threads too: it gets a process of its own.

    Events come in any order, so the end of a day may be known before its last sale. That is no failure.
    """
    with run.context.database.sessions() as session:
        sold = session.scalars(select(Sale).where(Sale.day == job.day).order_by(Sale.order_number)).all()
    if len(sold) < job.orders:
        raise Snooze(1.0)
    report = daily_report(job.day, sold)
    replace_file(run.context.report_file(job.day), msgspec.json.encode(report).decode())
    return f"{report.orders} orders on {job.day}"
