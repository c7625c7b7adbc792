"""What is done about each job."""

from collections.abc import Iterator

import msgspec

from remit import Run
from shop.database import Database
from shop.files import replace_file
from shop.orders.sales import sales_of
from shop.reports.figures import daily_report
from shop.reports.messages import BuildDailyReport, Reports, reports
from shop.reports.services import Services
from shop.settings import Settings


@reports.context
def services() -> Iterator[Services]:
    """Opened once per worker, and once in each of its child processes: not async, since those have no event loop."""
    settings = Settings.from_environment()
    database = Database(settings.database_url)
    yield Services(database, settings.reports)
    database.close()


@reports.handles(BuildDailyReport, mode="process")
def build_daily_report(job: BuildDailyReport, run: Run[Reports]) -> str:
    """Arithmetic would hold up the event loop, and all threads too: it gets a process of its own."""
    with run.context.database.sessions() as session:
        sales = sales_of(session, job.day)
    report = daily_report(job.day, sales)
    replace_file(run.context.report_file(job.day), msgspec.json.encode(report).decode())
    return f"{report.orders} orders on {job.day}"
