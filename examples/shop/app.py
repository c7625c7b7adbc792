"""The composition root.

remit worker shop.app:app       runs their jobs
uvicorn shop.web:web            takes the orders
"""

from remit import Defaults, Remit, Retry, exponential
from shop.domains import DOMAINS
from shop.settings import Settings

settings = Settings.from_environment()

app = Remit(
    settings.database_url,
    domains=DOMAINS,
    defaults=Defaults(retry=Retry(backoff=exponential(settings.retry_after))),
    schema=settings.job_schema,
    lease=settings.lease,
    name="shop",
)
