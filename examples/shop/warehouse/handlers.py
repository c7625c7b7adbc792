"""What is done about jobs of this domain, and about what others say."""

from collections.abc import AsyncIterator
from dataclasses import asdict

import httpx

from remit import DeadLetter, JobDied, RetryAfter, Run
from shop.orders.messages import OrderPlaced
from shop.settings import Settings
from shop.warehouse.messages import ParcelGivenUp, ParcelSent, SendParcel, Warehouse, warehouse
from shop.warehouse.services import Services


@warehouse.context
async def services() -> AsyncIterator[Services]:
    """Opened once per worker."""
    settings = Settings.from_environment()
    async with httpx.AsyncClient(base_url=settings.warehouse_url, timeout=settings.warehouse_timeout) as client:
        yield Services(client)


@warehouse.on(OrderPlaced, name="pack")
async def on_order_placed(event: OrderPlaced, run: Run[Warehouse]) -> None:
    run.enqueue(SendParcel(order=event.order, country=event.country, lines=event.lines))


@warehouse.handles(SendParcel)
async def send_parcel(job: SendParcel, run: Run[Warehouse]) -> str:
    """Outside the database things happen at least once.

    The same key on every attempt lets the warehouse pack a parcel once, even if its answer was lost.
    """
    answer = await run.context.warehouse.post(
        "/parcels",
        json={"order": job.order, "country": job.country, "lines": [asdict(line) for line in job.lines]},
        headers={"Idempotency-Key": run.key},
    )
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise RetryAfter(float(answer.headers["Retry-After"]))
    if answer.is_client_error:
        raise DeadLetter(f"order {job.order}: {answer.json()['error']}")
    answer.raise_for_status()  # any other exception: tried again, by the policy of the job
    parcel = str(answer.json()["parcel"])
    run.publish(ParcelSent(order=job.order, parcel=parcel))
    return f"parcel {parcel}"


@warehouse.exhausted(SendParcel, name="give-up")
async def on_parcel_dead(died: JobDied, run: Run[Warehouse]) -> None:
    """No parcel is given up in silence: however its job died, this is told of it, and tells the others."""
    run.publish(ParcelGivenUp(job=died.job, reason=died.reason))
