"""Verbs of the same names on objects of the application: what is heard may go on to them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from market.orders.messages import OrderPlaced, OrderSent
from market.stock.messages import Count, Reserve, Stock, stock
from remit import Job, Scheduler


class Hub:
    """Tells whoever looks at a screen."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def publish(self, event: object) -> None:
        self.told.append(event)

    def record(self, event: object) -> None:
        self.told.append(event)

    def enqueue(self, event: object) -> None:
        self.told.append(event)

    def enqueue_named(self, name: str) -> None:
        self.told.append(name)


class Loud(Hub):
    """The same, by inheritance."""


hub = Hub()


@dataclass
class Screens:
    hub: Hub
    maybe: Hub | None = None

    def tell(self, event: OrderPlaced) -> None:
        self.hub.record(event)
        self.hub.publish(OrderSent(organization_id="1", order=event.order))
        if self.maybe:
            self.maybe.enqueue_named("picture.make")


class Walls:
    def __init__(self) -> None:
        self.hub = Loud()

    def tell(self, event: OrderPlaced) -> None:
        self.hub.record(event)
        self.hub.enqueue_named("thumbnail.make")


def tell(event: OrderPlaced, bus, events: list[OrderSent]) -> None:
    hub.publish(event)
    hub.enqueue_named("thumbnail.make")
    hub.enqueue(OrderPlaced(organization_id="1", order="1"))
    bus.publish(event)
    bus.record(events[0])
    for each in events:
        bus.enqueue(each)


def hand_on(publish, event) -> None:
    publish(event.order)


async def send(scheduler: Scheduler[Stock], job: Job[Stock], wanted: str, aggregate: object) -> None:
    """Verbs of its own domain, with what cannot be told, and with names that are put together."""
    await scheduler.enqueue(job)
    await stock.enqueue_named(wanted, {})
    await stock.enqueue_named("re" + "serve", {})
    await stock.enqueue_named(f"{stock.name}.count", {})
    await stock.enqueue_named(".".join(("stock", "count")), {})  # noqa: FLY002
    await stock.publish_recorded(aggregate)
    await functools.partial(stock.enqueue, Count())()
    hand_on(stock.publish, OrderSent(organization_id="1", order="1"))
    list(map(stock.sync.enqueue, [Reserve(organization_id="1", order="1")]))
