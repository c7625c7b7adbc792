"""`app.subscriptions`: who listens to what, what is under way to them, what is stale, and whose code is gone."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection

from remit.client.faces import BlockingFace, Runs, blocking
from remit.db.transaction import Work
from remit.errors import UnknownSubscription, nearest
from remit.jobs.operations import cancel_many
from remit.jobs.states import State
from remit.outbox import operations
from remit.outbox.filling import PAUSE, wait_for_relays
from remit.outbox.model import Differences, Retirement, SubscriptionRecord

RETIRED = "its subscription was retired"
CANCEL_BATCH = 500


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

    async def retire(
        self,
        name: str,
        *,
        cancel: bool = False,
        by: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Retirement:
        """Deliver nothing more to a subscription: for one whose code is gone for good.

        Turns of an ordered subscription that have not begun go. What is under way stays, and is run while there is a
        handler. A retired subscription that is declared again is brought back by `remit migrate`.

        `cancel=True` cancels what is under way, so that its events complete: deliveries that wait end, those that run
        are asked to stop, as by `jobs.cancel`. Works in batches of 500, each a transaction of its own; `progress` is
        told the count after each, `by` is who asks. It ends when none is left to cancel, and waits for a caller's
        transaction that is about to end one; stopped half-way and called again, it goes on. Dead deliveries stay.

        Raises `UnknownSubscription`.
        """
        found = await self.get(name)
        turns = await self._retire(found.name)
        if not cancel:
            return Retirement(turns)
        await wait_for_relays(self._database.run, self._database.sleep)
        turns += await self._retire(found.name)
        cancelled, asked = await self._cancel(found.id, by, progress)
        return Retirement(turns, cancelled, asked)

    async def _retire(self, name: str) -> int:
        """How many turns are gone."""
        retired = await self._database.run(lambda tx: operations.retire(tx, name))
        return retired[1] if retired else 0

    async def _cancel(
        self, subscription: str, by: str | None, progress: Callable[[int], None] | None
    ) -> tuple[int, int]:
        """Cancel until nothing is left: how many waited, and how many were asked to stop."""
        cancelled = asked = 0
        while (states := await self._cancel_batch(subscription, by)) is not None:
            cancelled += states.count(State.CANCELLED)
            asked += states.count(State.RUNNING)
            if not states:
                await self._database.sleep(PAUSE)
            elif progress is not None:
                progress(cancelled + asked)
        return cancelled, asked

    async def _cancel_batch(self, subscription: str, by: str | None) -> builtins.list[State] | None:
        """The states of those that could be cancelled just now; None when there is nothing to cancel."""
        ids = await self._database.run(
            lambda tx: operations.cancellable(tx, subscription, limit=CANCEL_BATCH), atomic=False
        )
        if not ids:
            return None
        return await self._database.run(lambda tx: cancel_many(tx, ids, reason=RETIRED, by=by), atomic=False)


class SyncSubscriptions(BlockingFace[Subscriptions]):
    """`app.sync.subscriptions`: the same verbs, blocking."""

    list = blocking(Subscriptions.list)
    get = blocking(Subscriptions.get)
    differences = blocking(Subscriptions.differences)
    retire = blocking(Subscriptions.retire)
