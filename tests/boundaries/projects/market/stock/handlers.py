"""Dispatchers in every shape that people write."""

import logging
import re
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid5

from market.orders.messages import OrderPlaced, OrderSent
from market.stock import values
from market.stock.messages import Count, Reserve, Reserved, Stock, StockReserved, stock
from market.stock.values import Amount, reserve_all
from remit import Run, Skip, Snooze
from remit import Run as TheRun

log = logging.getLogger(__name__)
NUMBER = re.compile(r"\d+")
SPACE = UUID(int=0)
NAMES = {"a": "b"}


@stock.handles(Reserve)
async def reserve(job: Reserve, run: Run[Stock]) -> None:
    run.publish(StockReserved(organization_id=job.organization_id, order=job.order))


@stock.handles(Count)
def count(job: Count, run: Run[Stock]) -> None:
    events = [Reserved(organization_id=str(number)) for number in range(3)]
    for event in events:
        run.publish(event)


@stock.on(OrderPlaced, name="plain")
async def plain(event: OrderPlaced, run: Run[Stock]) -> None:
    run.enqueue(Reserve(organization_id=event.organization_id, order=event.order))


@stock.on(OrderPlaced, name="deciding")
def deciding(event: OrderPlaced, run: TheRun[Stock]) -> str:
    if not (found := NUMBER.search(event.order)):
        raise Skip(f"{event.order!r} has no number")
    log.info("reserving %s", found.group())
    with suppress(ValueError):
        if int(found.group(0)) > 10 and datetime.now(UTC).hour < 12:
            raise Snooze(60)
    match event.order.lower().split("-"):
        case [first, *rest]:
            for each in sorted(rest, key=lambda text: text.strip()):
                run.enqueue(Reserve(organization_id=NAMES.get(first, first), order=each), delay=3)
        case _:
            pass
    return "done"


@stock.on(OrderSent, name="computing")
async def computing(event: OrderSent, run: Run[Stock]) -> None:
    amount = Amount.of(event.order)
    if amount.is_large() and values.Amount.of("3").doubled() != amount:
        run.log.warning("large")
    for job in reserve_all([event.order], event.organization_id):
        run.enqueue(job, unique=str(uuid5(SPACE, run.key)))
    key = run.event.id if run.event else ""
    await stock.enqueue(Reserve(organization_id=key, order=event.order))
    stock.sync.enqueue_many([Reserve(organization_id=key, order=event.order)])
    await stock.publish(Reserved(organization_id="1"))
    await forward(event, run)


async def forward(event: OrderSent, run: Run[Stock]) -> None:
    def build(order: str) -> Reserve:
        return Reserve(organization_id=event.organization_id, order=order)

    run.enqueue(build(event.order))
    Dispatching(run).send(event.order)


class Dispatching:
    def __init__(self, run: Run[Stock]) -> None:
        self.run = run

    def send(self, order: str) -> None:
        self.run.enqueue(Reserve(organization_id="1", order=order))
