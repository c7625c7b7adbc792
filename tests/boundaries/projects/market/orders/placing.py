from collections.abc import Iterable

from market.orders import Orders, orders
from market.orders.messages import OrderPaid, OrderPlaced, OrderSent, OrderSplitUp, ShipOrder
from remit import Publisher, Scheduler


async def place(order: str, publisher: Publisher[Orders], scheduler: Scheduler[Orders]) -> None:
    event = OrderPlaced(organization_id="1", order=order)
    await publisher.publish(event)
    await scheduler.enqueue(ShipOrder.of(order))


async def send(orders_sent: Iterable[str]) -> None:
    await orders.publish_many(OrderSent(organization_id="1", order=each) for each in orders_sent)
    await orders.publish_soon(OrderPaid(organization_id="1"))
    await orders.enqueue_named("ship-order", {})
    await orders.enqueue_named("orders.ship-order", {})
    await orders.publish_later(OrderSplitUp(organization_id="1"), delay=60)
