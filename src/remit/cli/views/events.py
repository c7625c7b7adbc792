"""Events for people: one per line, or the details of one, with its deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, facts, table
from remit.cli.views.cells import indented, pretty, state, versioned
from remit.cli.wording import ago, count, line, moment, span
from remit.outbox.model import DeliveryRecord, EventRecord, EventState, OutboxRecord


def event_table(events: Sequence[EventRecord]) -> Table:
    """Events, one per line; the note is the most important further information."""
    now = datetime.now(UTC)
    columns = (
        Column("ID"),
        Column("STATE"),
        Column("EVENT", least=20, folds=True),
        Column("PUBLISHED", 4),
        Column("DELIVERIES", 3, justify="right"),
        Column("NOTE", 1, least=16),
    )
    rows = [
        (
            each.id,
            state(each.state),
            versioned(each.name, each.version),
            ago(each.published_at, now),
            "" if each.deliveries is None else f"{each.deliveries:,}",
            _note(each),
        )
        for each in events
    ]
    return table(columns, rows, console().width)


def _note(event: EventRecord) -> str:
    if event.state is EventState.DISPATCHED or not event.attempts:
        return ""
    return line(f"failed {count(event.attempts, 'time')}: {event.error or 'no reason is known'}")


def event_sheet(event: EventRecord) -> RenderableType:
    """The details of one event."""
    parts: list[RenderableType] = [facts([pair for pair in _event_facts(event) if pair[1] not in (None, "")])]
    parts += [Text("\npayload", "bold"), indented(pretty(event.payload_text) or "")]
    parts.append(Text("\ndeliveries", "bold"))
    parts += _deliveries(event)
    return Group(*parts)


def _event_facts(event: EventRecord) -> Iterable[tuple[str | Text, Any]]:
    yield "id", event.id
    yield "event", versioned(event.name, event.version)
    yield "state", state(event.state)
    yield "failures", _note(event)
    yield "domain", event.domain
    yield "occurred", moment(event.occurred_at) if event.occurred_at != event.published_at else None
    yield "published", moment(event.published_at)
    yield "dispatched", moment(event.dispatched_at) if event.dispatched_at else None
    yield "scope", line(", ".join(f"{key} {value}" for key, value in event.scope.items()))
    yield "correlation", event.correlation if event.correlation != event.id else None
    yield "caused by", event.causation
    yield "trace", event.traceparent


def _deliveries(event: EventRecord) -> list[RenderableType]:
    """A line each, with the result below it."""
    if not event.records:
        return [Text(f"  {_undelivered(event)}", "dim")]
    widest = max(len(each.subscription) for each in event.records)
    states = max(len(each.state) for each in event.records)
    now, parts = datetime.now(UTC), []
    for each in event.records:
        place = each.job or ("" if each.state == "waiting" else "its job was pruned")
        pad = " " * (states - len(each.state))
        head = Text.assemble(f"  {each.subscription:<{widest}}  ", state(each.state), f"{pad}  {place}".rstrip())
        parts += [head, *([indented(said, 4)] if (said := _fate(each, now)) else [])]
    return parts


def _undelivered(event: EventRecord) -> str:
    match event.state:
        case EventState.PENDING:
            return "none yet: it waits for the relay, which is part of every worker"
        case EventState.UNKNOWN:
            return (
                "none yet: it waits for a release that declares it; start a worker of that release, or run "
                "`remit migrate` with it"
            )
        case EventState.DEAD:
            return "none: the relay gave it up; `remit events retry` returns it to the relay"
        case EventState.DISPATCHED:
            return "none is left" if event.deliveries else "none: no subscription wanted it"


def _fate(delivery: DeliveryRecord, now: datetime) -> str:
    said = [
        "waits for its turn, or for a dead delivery of its key" if delivery.state == "waiting" else "",
        ago(delivery.finished_at, now) if delivery.finished_at else "",
        count(delivery.failures, "failure") if delivery.failures else "",
    ]
    head = ", ".join(each for each in said if each)
    return f"{head}: {line(delivery.reason)}" if head and delivery.reason else head or line(delivery.reason or "")


def outbox_line(outbox: OutboxRecord) -> Text:
    """The backlog of the relay, in one line."""
    text = Text("outbox: ")
    if outbox.pending:
        late = outbox.lag is not None and outbox.lag >= LATE
        waited = f", the oldest for {span(max(0.0, outbox.lag or 0.0))}"
        text.append(f"{count(outbox.pending, 'event')} pending{waited}", "yellow" if late else "")
    else:
        text.append("nothing pending")
    if outbox.unknown:
        text.append(f"; {count(outbox.unknown, 'unknown event')}", "yellow")
    if outbox.dead:
        text.append(f"; {count(outbox.dead, 'dead event')}", "red")
    return text


LATE = 5.0
"""Seconds after which a pending event is highlighted: a working relay takes milliseconds."""
