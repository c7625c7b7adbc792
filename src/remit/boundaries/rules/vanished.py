"""`vanished-subscription`: what the database still holds for a subscription that nobody declares any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from remit.boundaries.model import Model
from remit.boundaries.violations import Violation
from remit.errors import nearest


def vanished_subscription(model: Model, pending: Mapping[str, int]) -> Iterator[Violation]:
    """Deliveries wait that no worker will ever run.

    `pending` is how many unfinished deliveries the store holds, by the names of their subscriptions; whoever can reach
    the store asks it.
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
            "Declare it again, under this name or with aliases= on the one that took its place, or retire it: remit "
            f"subscriptions retire {name}."
            f"{nearest(name, known)}",
        )
