"""What can be done to events and subscriptions. Each operation awaits nothing but its transaction (see `remit.db`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from remit.codec import encode
from remit.db.statements import document
from remit.db.transaction import Row, Transaction
from remit.errors import ForeignTransaction
from remit.jobs.model import moment
from remit.jobs.operations import FOREIGN, check_ids, insert_one
from remit.outbox import queries
from remit.outbox.model import (
    DeliveryRecord,
    Differences,
    Dispatched,
    EventPage,
    EventRecord,
    EventState,
    Filled,
    Filling,
    Lane,
    OutboxRecord,
    Span,
    SubscriptionRecord,
    Waiting,
)
from remit.outbox.rows import ABSENT, NOT_SAID

LARGEST_INSERT = 1000


async def publish(tx: Transaction, events: Sequence[dict[str, Any]], *, store: str) -> int:
    """Write events, `LARGEST_INSERT` in a statement; answers how many.

    An id that is there already is left alone, so this can be repeated. Raises `ForeignTransaction` when the transaction
    belongs to another store, and `IdTaken`; then all others of the statement are written.
    """
    if len(events) == 1:
        return await insert_one(tx, queries.PUBLISH_ONE, queries.STORED, {**NOT_SAID, **events[0]}, store=store)
    written = 0
    turns = lanes_of(events)  # all of them before the first, so that nobody takes them in another order
    for first in range(0, len(events), LARGEST_INSERT):
        batch = events[first : first + LARGEST_INSERT]
        rows = await tx.fetch(queries.PUBLISH, events=document(batch), lanes=turns, store=store)
        turns = "[]"
        if not rows:
            raise ForeignTransaction(FOREIGN)
        written += rows[0][0]
        if own := [each for each in batch if "kinds" in each]:
            await check_ids(tx, queries.STORED, own)
    return written


async def dispatch(tx: Transaction, *, limit: int, keep: float, only: Collection[str] | None = None) -> Dispatched:
    """Make the deliveries of a batch of events, or of some by id; `keep` is seconds, for events without their own."""
    [(seen, events, jobs, lanes, unknown, *_)] = await tx.fetch(
        queries.DISPATCH, limit=limit, keep=keep, only=None if only is None else document(list(only))
    )
    touched = tuple((str(subscription), int(lane)) for subscription, lane in json.loads(lanes or "[]"))
    return Dispatched(seen, events, jobs, touched, unknown)


async def release(tx: Transaction, lanes: Collection[Lane]) -> tuple[int, int]:
    """Move lanes of ordered subscriptions on. Answers how many jobs were made, and how many turns were over."""
    asked = [[subscription, str(lane)] for subscription, lane in sorted(lanes)]
    [(sent, ended, *_)] = await tx.fetch(queries.RELEASE, lanes=document(asked))
    return sent, ended


async def lanes(tx: Transaction, *, after: Lane, limit: int) -> list[tuple[Lane, bool]]:
    """Lanes in which somebody waits, in order, beginning after one of them, and whether each can move on."""
    rows = await tx.fetch(queries.LANES, subscription=after[0], lane=after[1], limit=limit)
    return [((subscription, lane), bool(movable)) for subscription, lane, movable in rows]


async def pending(tx: Transaction, *, limit: int) -> list[tuple[str, float]]:
    """The events that wait for the relay, in its order, and in how many seconds each is due."""
    return [(id, due) for id, due in await tx.fetch(queries.PENDING, limit=limit)]


async def fail(tx: Transaction, id: str, *, error: str, most: int, delay: float) -> tuple[EventState, int, str] | None:
    """Note that an event could not be fanned out: its new state, its failures, its name; None if another did it."""
    rows = await tx.fetch(queries.FAIL, id=id, error=error, most=most, delay=delay)
    return (EventState(rows[0][0]), rows[0][1], rows[0][2]) if rows else None


async def recognise(tx: Transaction, *, limit: int) -> int:
    """Give the relay a batch of the events that it had set aside and that are declared now; answers how many.

    For everybody who has declared events, and for a relay that has set some aside: each looks after its commit, so that
    one of two that meet sees the work of the other.
    """
    [(count, *_)] = await tx.fetch(queries.RECOGNISE, limit=limit)
    return int(count)


async def unknown(tx: Transaction) -> list[tuple[str, int, int]]:
    """The names and versions of events that nobody has declared here, and how many of each wait."""
    return [(name, version, count) for name, version, count in await tx.fetch(queries.UNKNOWN)]


async def declare(
    tx: Transaction, subscriptions: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]] = (), *, force: bool
) -> list[tuple[str, str]]:
    """Enter subscriptions: (name, `entered` or `changed`) of those that were not so before; and make events known.

    Without `force` a declaration that the store had before, and has left behind, changes nothing: an old worker's.
    Needs a transaction: whoever declares at the same time waits for its end.
    """
    if not subscriptions and not events:
        return []
    await tx.fetch(queries.LOCK_SUBSCRIPTIONS)
    await tx.fetch(queries.DECLARE_EVENTS, events=document(list(events)))
    rows = await tx.fetch(queries.DECLARE, subscriptions=document(subscriptions), force=force)
    return [(name, what) for name, what in rows]


async def differences(tx: Transaction, subscriptions: Sequence[dict[str, Any]]) -> Differences:
    """Compare an application's subscriptions with the rows that are live.

    A declaration that the store has never seen is none of them: the first worker that comes with it puts it through.
    """
    if not subscriptions:
        return Differences()
    rows = {name: rest for name, *rest in await tx.fetch(queries.DECLARATIONS)}
    own = {each["name"] for each in subscriptions}
    renamed = {former: name for name in rows if name not in own for former in json.loads(rows[name][0])}
    duplicates: list[tuple[str, str]] = []
    outdated: list[tuple[str, str, int]] = []
    for each in subscriptions:
        name, aliases = each["name"], each["aliases"]
        if name in rows:
            duplicates += [(name, alias) for alias in aliases if alias in rows and alias not in own]
        present = next((known for known in (name, *aliases, renamed.get(name)) if known in rows), None)
        if present is None:
            continue
        _, fingerprint, past, revision = rows[present]
        left_behind = each["fingerprint"] in json.loads(past) or present not in (name, *aliases)
        if left_behind and each["fingerprint"] != fingerprint:
            outdated.append((name, present, revision))
    return Differences(tuple(duplicates), tuple(outdated))


async def subscriptions(
    tx: Transaction, declared: Collection[str], domains: Collection[str]
) -> list[SubscriptionRecord]:
    """Every subscription that the store knows. `declared` and `domains` are what this application has."""
    under_way: dict[str, dict[str, Waiting]] = {}
    for name, state, count, oldest, stale in await tx.fetch(queries.DELIVERIES_BY_STATE):
        under_way.setdefault(name, {})[state] = Waiting(count, oldest, stale)
    return [
        _subscription(row, declared, domains, under_way.get(row[1], {}))
        for row in await tx.fetch(queries.SUBSCRIPTIONS)
    ]


def _subscription(
    row: Row, declared: Collection[str], domains: Collection[str], under_way: dict[str, Waiting]
) -> SubscriptionRecord:
    (
        id, name, former, domain, queue, events, condition, ordered_by, on_dead, stale_after, attempts, _priority,
        _expires, _keep, revision, _fingerprint, created_at, filling_since, retired_at,
    ) = row  # fmt: skip
    created: Any = moment(created_at)
    return SubscriptionRecord(
        id=id,
        name=name,
        former=tuple(json.loads(former)),
        domain=domain,
        queue=queue,
        events=tuple(json.loads(events)),
        conditions={} if condition is None else _conditions(condition),
        ordered_by=ordered_by,
        on_dead=on_dead,
        stale_after=stale_after,
        attempts=attempts,
        revision=revision,
        created_at=created,
        filling_since=moment(filling_since),
        retired_at=moment(retired_at),
        declared=name in declared if domain in domains else None,
        under_way=under_way,
    )


def _conditions(text: str) -> dict[int, dict[str, list[str]]]:
    return {
        int(version): {field: [each for each in texts if each != ABSENT] for field, texts in fields.items()}
        for version, fields in json.loads(text).items()
    }


async def called(tx: Transaction, name: str) -> set[str]:
    """All names of the subscription that has a name, or had it; none where there is no such subscription."""
    return {each for own, former in await tx.fetch(queries.CALLED, name=name) for each in (own, *json.loads(former))}


async def retire(tx: Transaction, name: str) -> tuple[str, int] | None:
    """Deliver nothing more to a subscription: its id, and how many turns that had not begun are gone."""
    rows = await tx.fetch(queries.RETIRE, name=name)
    return (rows[0][0], rows[0][1]) if rows else None


async def delivering(tx: Transaction) -> set[str]:
    """The transactions that make deliveries at this moment. One of them that began before a subscription was retired
    may not have seen that it was.
    """
    return {str(transaction) for (transaction,) in await tx.fetch(queries.DELIVERING)}


async def cancellable(tx: Transaction, subscription: str, *, limit: int) -> list[str]:
    """Ids of deliveries of a retired subscription that wait, or run and were not asked to stop; none when all is done.

    All of them are seen at one moment, so that none passes unseen from one state into another.
    """
    return [id for (id,) in await tx.fetch(queries.CANCELLABLE, subscription=subscription, limit=limit)]


async def outbox(tx: Transaction) -> OutboxRecord:
    """How the relay keeps up."""
    return OutboxRecord(*(await tx.fetch(queries.OUTBOX))[0])


async def get_event(tx: Transaction, id: str) -> EventRecord | None:
    """One event with its deliveries."""
    rows = await tx.fetch(queries.GET_EVENT, id=id)
    if not rows:
        return None
    records = tuple(
        DeliveryRecord(name, state, job, failures or 0, moment(finished), reason)
        for name, state, job, failures, finished, reason in await tx.fetch(queries.EVENT_DELIVERIES, id=id)
    )
    return EventRecord.from_row(rows[0], records)


async def list_events(
    tx: Transaction,
    *,
    state: str | None,
    domain: str | None,
    names: Collection[str] | None,
    after: str | None,
    limit: int,
) -> EventPage:
    """A page of events, newest first."""
    named = None if names is None else document(sorted(names))
    rows = await tx.fetch(queries.LIST_EVENTS, state=state, domain=domain, names=named, after=after, limit=limit)
    events = tuple(EventRecord.from_row(row) for row in rows)
    return EventPage(events, events[-1].id if len(events) == limit else None)


async def retry_event(tx: Transaction, id: str) -> EventState | None:
    """Give an event to the relay again, unless it was dispatched. Answers the state before; None: no such event."""
    rows = await tx.fetch(queries.RETRY_EVENT, id=id)
    return EventState(rows[0][0]) if rows else None


async def begin_filling(
    tx: Transaction, name: str, *, since: int | None = None, until: int | None = None, rate: float | None = None
) -> Filling | None:
    """Hold what is live, if the subscription is ordered; None where there is no such subscription.

    `since` and `until` are microseconds, `rate` is events in a second.
    """
    span = Span(since, until, rate)
    rows = await tx.fetch(queries.BEGIN_FILLING, name=name, filling=encode(span))
    return _filling(rows[0]) if rows else None


async def fillings(tx: Transaction) -> list[Filling]:
    """The back-fills that go on, or that nobody has ended."""
    return [_filling(row) for row in await tx.fetch(queries.FILLINGS)]


def _filling(row: Row) -> Filling:
    id, name, events, begun, span = row
    return Filling(id, name, tuple(json.loads(events)), begun, msgspec.json.decode(span, type=Span))


async def note_filling(tx: Transaction, filling: Filling) -> bool:
    """Note how far a back-fill has come; False where another has begun since, or this one was ended."""
    return bool(
        await tx.fetch(
            queries.NOTE_FILLING, subscription=filling.subscription, begun=filling.begun, filling=encode(filling.span)
        )
    )


async def end_filling(tx: Transaction, filling: Filling) -> None:
    """Let go what was held, unless another back-fill has begun since."""
    await tx.fetch(queries.END_FILLING, subscription=filling.subscription, begun=filling.begun)


async def fill_and_note(tx: Transaction, filling: Filling, *, after: int, limit: int) -> tuple[Filled, Filling, bool]:
    """Deliver one batch of the log to a subscription, and note how far the back-fill has come.

    Answers the batch, the back-fill at its new place, and what `note_filling` answers.
    """
    span = filling.span
    done = await fill(
        tx, filling.subscription, filling.events, since=span.since, until=span.until, after=after, limit=limit
    )
    later = filling.at(done.after)
    return done, later, await note_filling(tx, later)


async def next_to_fill(tx: Transaction, filling: Filling, *, after: int) -> tuple[str, str, int] | None:
    """The id, the name and the number of the event of the log that a back-fill looks at next."""
    rows = await tx.fetch(
        queries.NEXT_TO_FILL,
        names=document(list(filling.events)),
        since=filling.span.since,
        until=filling.span.until,
        after=after,
    )
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


async def count_log(tx: Transaction, names: Collection[str], *, since: int | None, until: int | None) -> int:
    """How many events of these names the log holds in a span, in microseconds."""
    [(count,)] = await tx.fetch(queries.COUNT_LOG, names=document(list(names)), since=since, until=until)
    return int(count)


async def fill(
    tx: Transaction,
    subscription: str,
    names: Collection[str],
    *,
    since: int | None,
    until: int | None,
    after: int,
    limit: int,
) -> Filled:
    """Deliver one batch of the log to a subscription: the events after a number, in order."""
    [(events, last, deliveries, *_)] = await tx.fetch(
        queries.FILL,
        subscription=subscription,
        names=document(list(names)),
        since=since,
        until=until,
        after=after,
        limit=limit,
    )
    return Filled(events, last or after, deliveries)


async def purge_events(tx: Transaction, *, keep: float, archive: bool, again: float, limit: int) -> tuple[int, int]:
    """Look at a batch of events whose time may be over: how many were looked at, and how many are gone.

    `keep` is in seconds, for events without their own; `again` after how many seconds one that is not over is looked at
    again.
    """
    [(seen, gone)] = await tx.fetch(queries.PURGE_EVENTS, keep=keep, archive=archive, again=again, limit=limit)
    return seen, gone


async def purge_archive(tx: Transaction, *, age: float, limit: int) -> int:
    """Remove a batch of archived events that are older than `age` seconds."""
    return len(await tx.fetch(queries.PURGE_ARCHIVE, age=age, limit=limit))


def lanes_of(events: Iterable[dict[str, Any]]) -> str:
    """The lanes of ordered events whose turn a statement must take, in the one order in which everybody takes them."""
    return document(sorted({event["lane"] for event in events if "lane" in event}))
