from market.orders.messages import ShipOrder
from market.orders.owner import orders
from remit.boundaries import assert_boundaries


async def ship(order: str) -> None:
    await orders.enqueue(ShipOrder.of(order))


USED = assert_boundaries
