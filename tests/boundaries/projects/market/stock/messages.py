from remit import Domain, Event, Job


class Stock(Domain[object], name="stock"):
    """What is there."""


stock = Stock()


class Reserve(Job[Stock]):
    organization_id: str
    order: str


class Count(Job[Stock], unscoped="of the whole warehouse"): ...


class StockReserved(Event[Stock]):
    organization_id: str
    order: str


class Reserved(Event[Stock], audit_only=True, name="stock.reserved"):
    organization_id: str
