"""Findings of `remit check` in the database. None if it is unreachable, or has another schema version."""

from __future__ import annotations

from collections.abc import Iterator

from remit import schema
from remit.app import Remit
from remit.boundaries import Finder, Model, Violation
from remit.boundaries.rules.vanished import vanished_subscription
from remit.cli.views.subscriptions import pending
from remit.db.transaction import Role
from remit.errors import StoreError
from remit.outbox import operations

UNFINISHED = ("waiting", "scheduled", "ready", "running")


def of_the_store(app: Remit) -> list[Finder]:
    """Finders that query the database of an application when they are called. They create and migrate nothing."""

    def vanished(model: Model) -> Iterator[Violation]:
        return vanished_subscription(model, _waiting(app))

    return [vanished]


def _waiting(app: Remit) -> dict[str, int]:
    """The number of open deliveries to subscriptions whose code was removed, by the subscriptions' names."""
    store = app.store
    declared = {each.name for each in app.catalog.subscriptions}
    domains = {domain.name for domain in app.catalog.domains}
    try:
        if store.schema_version() != schema.latest(store.dialect):
            return {}
        database = store.blocking(Role.CLIENT)
        try:
            known = database.run(lambda tx: operations.subscriptions(tx, declared, domains), atomic=False)
        finally:
            database.close()
    except StoreError:
        return {}
    return {each.name: pending(each, *UNFINISHED) for each in known if each.vanished}
