"""`vanished-subscription`: deliveries in the database for a subscription that is no longer declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from remit.boundaries.model import Model
from remit.boundaries.violations import Violation
from remit.errors import nearest


def vanished_subscription(model: Model, pending: Mapping[str, int]) -> Iterator[Violation]:
    """Deliveries wait that no worker will ever run.

    `pending` is the number of unfinished deliveries in the store, by the names of their subscriptions; a caller that
    can reach the store queries it.
    """
    known = {name for each in model.subscriptions for name in each.names}
    for name, count in sorted(pending.items()):
        if name in known or not count:
            continue
        domain = name.partition(".")[0]
        yield Violation(
            "vanished-subscription",
            model.root.file,
            model.root.line,
            domain,
            name,
            f"{count:,} {'delivery waits' if count == 1 else 'deliveries wait'} for {name}, which is not declared",
            "Declare it again, under this name or with aliases= on the one that replaced it, or retire it: remit "
            f"subscriptions retire {name}."
            f"{nearest(name, known)}",
        )
