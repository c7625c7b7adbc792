from __future__ import annotations

from market.orders import messages as facts
from market.orders import orders as domain


class Basket:
    events = domain.recorder()

    def __init__(self, organization: str) -> None:
        self.organization = organization

    def add(self) -> None:
        self.events.record(self._added())

    def _added(self) -> facts.ItemAddedToBasket:
        return facts.ItemAddedToBasket(organization_id=self.organization)


class Late:
    """Passes what it is given to a port whose type says nothing."""

    def __init__(self, publisher: object) -> None:
        self._publisher = publisher

    async def tell(self) -> None:
        await self._say(facts.OrderBecameLate(organization_id="1"))

    async def _say(self, event: object) -> None:
        await self._publisher.publish(event)  # type: ignore[attr-defined]
