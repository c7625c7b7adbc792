"""The composition root: the only place that knows every domain.

remit worker shop.app:app       runs their jobs
uvicorn shop.web:web            takes the orders
"""

from remit import Defaults, Remit, Retry, exponential
from shop.orders.messages import orders
from shop.reports.messages import reports
from shop.settings import Settings

settings = Settings.from_environment()

app = Remit(
    settings.database_url,
    domains=[orders, reports],
    defaults=Defaults(retry=Retry(backoff=exponential(settings.retry_after))),
    schema=settings.job_schema,
    lease=settings.lease,
    name="shop",
)
