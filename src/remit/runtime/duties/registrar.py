"""Keeps the store's subscriptions in step with the code: enters what is declared, tells what is declared no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remit.catalog import Catalog, Subscription
from remit.db.transaction import Database, Role, Transaction
from remit.outbox import operations
from remit.outbox.model import Differences
from remit.outbox.rows import event_types, subscription_row
from remit.runtime.duties.leader import Leader
from remit.runtime.loop import Signal, StoreLoop
from remit.telemetry import Telemetry

INTERVAL = 60.0
"""Seconds between two looks for subscriptions whose code is gone, and for events that nobody has declared."""
RECOGNISED = 1000
"""Events that one statement gives the relay again."""


async def declare(tx: Transaction, catalog: Catalog, *, force: bool) -> Sequence[tuple[str, str]]:
    """Enter an application's subscriptions, and make its events known to the relay; afterwards, `recognise`.

    With `force` also the subscriptions that the store has left behind (see `migrate`).
    """
    events = dict.fromkeys((*catalog.events, *(each.event for each in catalog.subscriptions)))
    return await operations.declare(tx, _rows(catalog), event_types(events), force=force)


async def differences(tx: Transaction, catalog: Catalog) -> Differences:
    """Where the store goes by something else than what an application declares."""
    return await operations.differences(tx, _rows(catalog))


def _rows(catalog: Catalog) -> list[dict[str, Any]]:
    versions: dict[str, list[Subscription]] = {}
    for each in catalog.subscriptions:
        versions.setdefault(each.name, []).append(each)
    return [subscription_row(one, catalog.policy(one[0])) for one in versions.values()]


async def recognise(database: Database) -> None:
    """Give the relay what it had set aside and what is declared now."""
    while await database.run(lambda tx: operations.recognise(tx, limit=RECOGNISED), atomic=False) == RECOGNISED:
        pass


class Registrar(StoreLoop):
    """`enter` before the first claim; then, in the leader, a look now and then."""

    name = "registrar"
    role = Role.LEADER
    woken_by = frozenset({Signal.ELECTED})

    def __init__(self, database: Database, catalog: Catalog, leader: Leader, telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._catalog = catalog
        self._leader = leader
        self._reported: set[str] = set()
        self._reported_duplicates: set[tuple[str, str]] = set()
        self._reported_unknown: set[tuple[str, int]] = set()

    async def enter(self) -> None:
        """Enter what this worker declares and the store does not know; tell where the store goes by something else."""
        entered, found = await self._database.run(self._enter)
        await recognise(self._database)
        if entered:
            self._telemetry.declared(", ".join(name for name, _ in entered))
        for name, present, revision in found.outdated:
            self._telemetry.outdated(name, present, revision)
        self._report_duplicates(found.duplicates)

    async def _enter(self, tx: Transaction) -> tuple[Sequence[tuple[str, str]], Differences]:
        return await declare(tx, self._catalog, force=False), await differences(tx, self._catalog)

    async def _report_unknown(self) -> None:
        """Each once, until it is known."""
        found = {(name, version): count for name, version, count in await self.ask(operations.unknown)}
        for name, version in sorted(found.keys() - self._reported_unknown):
            self._telemetry.unknown_event(name, version, found[name, version])
        self._reported_unknown = set(found)

    def _report_duplicates(self, duplicates: Iterable[tuple[str, str]]) -> None:
        """Each once, until it is mended. They are told, not retired: that is a person's decision."""
        found = set(duplicates)
        for name, previous in sorted(found - self._reported_duplicates):
            self._telemetry.duplicates(name, previous)
        self._reported_duplicates = found

    async def turn(self) -> float:
        await self.ask(lambda tx: operations.recognise(tx, limit=RECOGNISED))  # a relay was killed before it looked
        if self._leader.leading:
            await self._report_unknown()
            declared = {each.name for each in self._catalog.subscriptions}
            domains = {domain.name for domain in self._catalog.domains}
            known = await self.ask(lambda tx: operations.subscriptions(tx, declared, domains))
            found = await self.ask(lambda tx: differences(tx, self._catalog))
            self._report_duplicates(found.duplicates)
            served = {previous for _, previous in found.duplicates}
            vanished = {each.name: each for each in known if each.vanished and each.under_way}
            for name in vanished.keys() - self._reported - served:
                self._telemetry.vanished(name, sum(one.count for one in vanished[name].under_way.values()))
            self._reported = vanished.keys() - served
        return INTERVAL
