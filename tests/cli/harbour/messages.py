from remit import Domain, Event, Retry


class Port(Domain[None]):
    """Where ships come in."""


class Customs(Domain[None], retry=Retry(attempts=1)):
    """Looks into what they bring."""


port = Port()
customs = Customs()
goods = customs.queue("goods", concurrency=2)


class CargoLanded(Event[Port]):
    """Of which customs want to see some kinds; of rum they get too much."""

    kind: str


class ShipDocked(Event[Port], ordered_by="ship"):
    """Which customs clear one ship after the other; a ship named Kraken is not cleared."""

    ship: str


class FogRolledIn(Event[Port]):
    """Which nobody hears."""

    visibility: int


class LogKept(Event[Port], audit_only=True):
    """Which nobody needs to hear."""

    page: int
