from market.orders import Orders, orders
from market.orders.messages import ShipOrder
from market.stock.messages import StockReserved
from remit import Run


@orders.handles(ShipOrder)
async def ship(job: ShipOrder, run: Run[Orders]) -> None:
    async with run.transaction() as tx:
        await tx.execute("select 1")


@orders.on(StockReserved, name="ship", where={"organization_id": ["1", "<2>"]})
async def on_reserved(event: StockReserved, run: Run[Orders]) -> None:
    run.enqueue(ShipOrder(organization_id=event.organization_id, order=event.order))


@orders.on(StockReserved, name="audit", inline="it writes one line into a file of its own")
def audit(event: StockReserved, run: Run[Orders]) -> None:
    with open("/dev/null", "a") as file:
        file.write(event.order)


@orders.exhausted(ShipOrder, name="tell-operations")
def tell(died, run) -> None:
    with open("/dev/null", "a") as file:
        file.write(died.reason)
