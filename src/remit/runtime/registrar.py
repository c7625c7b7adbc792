"""Keeps the store's subscriptions in step with the code: enters what is declared, tells what is declared no more."""

from __future__ import annotations

from collections.abc import Sequence

from remit.catalog import Catalog
from remit.db.transaction import Database, Transaction
from remit.outbox import operations
from remit.outbox.rows import subscription_row
from remit.runtime.leader import Leader
from remit.runtime.service import StoreLoop
from remit.telemetry import Telemetry

INTERVAL = 60.0
"""Seconds between two looks for subscriptions whose code is gone."""


async def declare(tx: Transaction, catalog: Catalog, *, force: bool) -> Sequence[tuple[str, str]]:
    """Enter an application's subscriptions; with `force` also those that the store has left behind (see `migrate`)."""
    rows = [subscription_row(each, catalog.policy(each)) for each in catalog.subscriptions]
    return await operations.declare(tx, rows, force=force)


class Registrar(StoreLoop):
    """`enter` before the first claim; then, in the leader, a look now and then."""

    name = "registrar"

    def __init__(self, database: Database, catalog: Catalog, leader: Leader, telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._catalog = catalog
        self._leader = leader
        self._told: set[str] = set()

    async def enter(self) -> None:
        """Enter what this worker declares and the store does not know."""
        entered = await self._database.run(lambda tx: declare(tx, self._catalog, force=False))
        if entered:
            self._telemetry.declared(", ".join(name for name, _ in entered))

    async def turn(self) -> float:
        if self._leader.leading:
            declared = {each.name for each in self._catalog.subscriptions}
            domains = {domain.name for domain in self._catalog.domains}
            known = await self.ask(lambda tx: operations.subscriptions(tx, declared, domains))
            vanished = {each.name: each for each in known if each.vanished and each.under_way}
            for name in vanished.keys() - self._told:
                self._telemetry.vanished(name, sum(one.count for one in vanished[name].under_way.values()))
            self._told = set(vanished)
        return INTERVAL
