"""Subscriptions for people; problems are highlighted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, facts, table
from remit.cli.records import conditions
from remit.cli.views.cells import age, number, state
from remit.cli.wording import ago, count, line, moment, span
from remit.outbox.model import Differences, SubscriptionRecord

STATES = ("waiting", "scheduled", "ready", "running", "dead")


def subscription_table(subscriptions: Sequence[SubscriptionRecord], *, brief: bool = False) -> Table:
    """Subscriptions, one per line; `brief` omits the details of their declaration.

    `TURNS` are deliveries of an ordered subscription that wait for those before them.
    """
    declared = () if brief else (
        Column("EVENT", 6, least=20, folds=True),
        Column("QUEUE", 2),
        Column("WHERE", 3, least=12),
        Column("ORDER", 4),
    )  # fmt: skip
    columns = (
        Column("SUBSCRIPTION", least=20, folds=True),
        *declared,
        Column("TURNS", 9, justify="right"),
        Column("SCHEDULED", 8, justify="right"),
        Column("READY", justify="right"),
        Column("RUNNING", 7, justify="right"),
        Column("OLDEST", 10, justify="right"),
        Column("STALE", justify="right"),
        Column("DEAD", justify="right"),
        Column("NOTE", 11, least=8),
    )
    return table(columns, [_row(each, brief=brief) for each in subscriptions], console().width)


def _row(each: SubscriptionRecord, *, brief: bool) -> tuple[str | Text, ...]:
    declared = (", ".join(each.events), each.queue, _where(each), f"by {each.ordered_by}" if each.ordered_by else "")
    turns, scheduled = pending(each, "waiting"), pending(each, "scheduled")
    return (
        each.name,
        *(() if brief else declared),
        number(turns) if turns else "",
        number(scheduled, "blue") if scheduled else "",
        number(pending(each, "ready"), "cyan"),
        number(pending(each, "running"), "yellow"),
        age(_oldest(each)),
        number(stale(each), "bold red"),
        number(pending(each, "dead"), "red"),
        _note(each),
    )


def pending(subscription: SubscriptionRecord, *states: str) -> int:
    """The number of its deliveries in these states."""
    return sum(each.count for state, each in subscription.under_way.items() if state in states)


def stale(subscription: SubscriptionRecord) -> int:
    """The number of deliveries that wait for too long; a dead one does not wait."""
    return sum(each.stale for state, each in subscription.under_way.items() if state != "dead")


def differing(differences: Differences) -> list[str]:
    """Warnings about differences between the store and this application's declarations."""
    found = [
        f"subscriptions {name} and {former} stand for one handler, which gets each event from both: run "
        f"`remit subscriptions retire {former}`"
        for name, former in differences.duplicates
    ]
    return found + [
        f"the store holds another declaration of {name} ({'' if present == name else f'as {present}, '}revision "
        f"{revision}) than this release's, which is in force: after a roll-back run `remit migrate` of this release"
        for name, present, revision in differences.outdated
    ]


def _oldest(subscription: SubscriptionRecord) -> float | None:
    ages = [
        each.oldest for state, each in subscription.under_way.items() if state != "dead" and each.oldest is not None
    ]
    return max(ages, default=None)


def _note(each: SubscriptionRecord) -> Text:
    if each.retired_at is not None:
        return Text(f"retired {ago(each.retired_at)}", "magenta")
    if each.vanished:
        return Text("VANISHED", "bold red")
    if each.filling_since is not None:
        return Text(f"{'held, ' if each.ordered_by else ''}filling, {ago(each.filling_since)}", "yellow")
    return Text("another application's" if each.declared is None else "", "dim")


def _where(subscription: SubscriptionRecord) -> str:
    found = [
        (version, " and ".join(f"{field} = {' or '.join(map(str, values))}" for field, values in where.items()))
        for version, where in conditions(subscription).items()
    ]
    alike = len({text for _, text in found}) == 1
    return line(found[0][1] if alike else "; ".join(f"v{version}: {text}" for version, text in found))


def subscription_sheet(subscription: SubscriptionRecord) -> RenderableType:
    """The details of one subscription."""
    parts: list[RenderableType] = [facts([pair for pair in _facts(subscription) if pair[1] not in (None, "")])]
    parts.append(Text("\ndeliveries", "bold"))
    if not subscription.under_way:
        return Group(*parts, Text("  none under way, none dead", "dim"))
    columns = (
        Column("  STATE"),
        Column("COUNT", justify="right"),
        Column("OLDEST", justify="right"),
        Column("STALE", justify="right"),
    )
    rows = [
        (Text("  ").append_text(state(name)), number(one.count), age(one.oldest), number(one.stale, "bold red"))
        for name in STATES
        if (one := subscription.under_way.get(name)) is not None
    ]
    return Group(*parts, table(columns, rows, console().width))


def _facts(each: SubscriptionRecord) -> Iterable[tuple[str | Text, Any]]:
    yield "subscription", each.name
    yield "before", ", ".join(each.former)
    yield "state", _standing(each)
    yield "event", ", ".join(each.events)
    yield "where", _where(each)
    yield "order", _order(each)
    yield "queue", each.queue
    yield "domain", each.domain
    yield "attempts", str(each.attempts)
    yield "stale after", span(each.stale_after)
    yield "entered", moment(each.created_at)
    yield "changed", count(each.revision - 1, "time") if each.revision > 1 else None


def _standing(each: SubscriptionRecord) -> Text:
    if each.retired_at is not None:
        return Text(f"retired {ago(each.retired_at)}: nothing more is delivered to it", "magenta")
    if each.vanished:
        remedy = f"restore its handler, or run `remit subscriptions retire {each.name}`"
        return Text(f"VANISHED: this application no longer declares it; {remedy}", "bold red")
    if each.filling_since is not None:
        held = ", and live events wait until it is done" if each.ordered_by else ""
        gone = "; if its process is gone, a worker ends it"
        return Text(f"filling: a back-fill is in progress since {moment(each.filling_since)}{held}{gone}", "yellow")
    if each.declared is None:
        return Text(f"in use; another application has the domain {each.domain}")
    return Text("in use", "green")


def _order(each: SubscriptionRecord) -> str | None:
    if each.ordered_by is None:
        return None
    behind = "blocks those behind it" if each.on_dead == "block" else "does not block those behind it"
    return f"one after the other by {each.ordered_by}; a dead delivery {behind}"
