from harbour.messages import CargoLanded, Customs, Port, ShipDocked, customs, goods, port

from remit import Run


@customs.on(CargoLanded, name="inspect", where={"kind": ["tea", "rum"]}, queue=goods)
async def inspect(event: CargoLanded, run: Run[Customs]) -> str:
    if event.kind == "rum":
        raise LookupError("a barrel of rum is missing")
    return f"{event.kind} inspected"


@customs.on(ShipDocked, name="clear", ordered_by="ship")
async def clear(event: ShipDocked, run: Run[Customs]) -> None:
    if event.ship == "Kraken":
        raise ValueError("it has tentacles")


@port.on(CargoLanded, name="count")
async def count(event: CargoLanded, run: Run[Port]) -> None: ...
