"""`app.subscriptions`: who listens to what, what is under way to them, what is stale, and whose code is gone."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection

from remit.client.faces import BlockingFace, Runs, blocking
from remit.db.transaction import Work
from remit.errors import UnknownSubscription, nearest
from remit.outbox import operations
from remit.outbox.model import Differences, SubscriptionRecord


class Subscriptions:
    """Subscriptions by their whole names, e.g. `catalog.unlock-downloads`.

    `declared` and `domains` give what this application has, by which a subscription is told whose code is gone;
    `compare` compares its declarations with the store's.
    """

    def __init__(
        self,
        database: Runs,
        declared: Callable[[], Collection[str]],
        domains: Callable[[], Collection[str]],
        compare: Work[Differences],
    ) -> None:
        self._database = database
        self._declared = declared
        self._domains = domains
        self._compare = compare

    async def list(self) -> builtins.list[SubscriptionRecord]:
        """Every subscription that the store knows, with its deliveries that are under way or dead, by state.

        Imports the handlers of the application, to know which are still declared.
        """
        declared, domains = self._declared(), self._domains()
        return await self._database.run(lambda tx: operations.subscriptions(tx, declared, domains), atomic=False)

    async def get(self, name: str) -> SubscriptionRecord:
        """One subscription, by its name or one that it had. Raises `UnknownSubscription`."""
        known = await self.list()
        for each in sorted(known, key=lambda one: one.name != name):  # a former name may be another's now
            if name == each.name or name in each.former:
                return each
        raise UnknownSubscription(
            f"there is no subscription {name!r} in the store.{nearest(name, [each.name for each in known])}"
        )

    async def differences(self) -> Differences:
        """Where the store goes by something else than what this application declares: see `remit status`.

        Imports the handlers of the application.
        """
        self._declared()
        return await self._database.run(self._compare, atomic=False)

    async def retire(self, name: str) -> int:
        """Deliver nothing more to a subscription: for one whose code is gone for good.

        What is under way stays, to be run, cancelled or deleted as jobs; turns of an ordered subscription that have not
        begun go, and their number is answered. A retired subscription that is declared again is brought back by
        `remit migrate`. Raises `UnknownSubscription`.
        """
        name = (await self.get(name)).name
        retired = await self._database.run(lambda tx: operations.retire(tx, name))
        return retired[1] if retired else 0


class SyncSubscriptions(BlockingFace[Subscriptions]):
    """`app.sync.subscriptions`: the same verbs, blocking."""

    list = blocking(Subscriptions.list)
    get = blocking(Subscriptions.get)
    differences = blocking(Subscriptions.differences)
    retire = blocking(Subscriptions.retire)
