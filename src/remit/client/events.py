"""`app.events`: the log of events, how the relay keeps up, and back-fills."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from remit.catalog import AnyId, id_text
from remit.client.faces import BlockingFace, Runs, blocking
from remit.client.filters import Called, by_that_name
from remit.errors import (
    DamagedEvents,
    EventNotFound,
    InvalidArgument,
    InvalidTransition,
    StoreError,
    UnknownSubscription,
    nearest,
)
from remit.jobs.model import micros
from remit.outbox import operations
from remit.outbox.filling import Backfill, wait_for_relays
from remit.outbox.model import EventPage, EventRecord, EventState, OutboxRecord

LONGEST_PAGE = 1000
BEAT = 3.0
"""Seconds in which a back-fill that waits shows that it goes on."""


class Events:
    """Events, one or many. An id is a text, as `EventRef.id` gives it, or a `uuid.UUID`."""

    def __init__(self, database: Runs, called: Called = by_that_name) -> None:
        self._database = database
        self._called = called

    async def get(self, id: AnyId) -> EventRecord:
        """One event, with the state of each of its deliveries. Raises `EventNotFound`."""
        known = _known(id)
        event = await self._database.run(lambda tx: operations.get_event(tx, known), atomic=False)
        if event is None:
            raise EventNotFound(_missing(known))
        return event

    async def list(
        self,
        *,
        state: str | None = None,
        event: str | None = None,
        domain: str | None = None,
        limit: int = 50,
        after: AnyId | None = None,
    ) -> EventPage:
        """Events, newest first, a page at a time.

        `state` is "pending" (not dispatched yet), "unknown" (declared by no release that was here yet), "dispatched" or
        "dead"; `event` a whole name (`billing.invoice-paid`), whose other names match too; `domain` the publisher.
        `after` is what the page before answered; a page whose own `after` is None is the last. `limit` is 1 to 1000.
        Raises `InvalidArgument`.
        """
        if state is not None and state not in set(EventState):
            raise InvalidArgument(
                f"state {state!r} is no state of an event.{nearest(state, EventState)} "
                f"The states are {', '.join(EventState)}."
            )
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidArgument(f"limit is 1 to {LONGEST_PAGE}, not {limit}")
        names = None if event is None else self._called(event)
        position = id_text(after)
        if after is not None and position is None:
            raise InvalidArgument(f"after is the id of an event, as the page before gave it, not {after!r}")
        return await self._database.run(
            lambda tx: operations.list_events(
                tx, state=state, domain=domain, names=names, after=position, limit=limit
            ),
            atomic=False,
        )  # fmt: skip

    async def outbox(self) -> OutboxRecord:
        """How the relay keeps up: events that wait for it, how long the oldest has waited, and dead ones."""
        return await self._database.run(operations.outbox, atomic=False)

    async def retry(self, id: AnyId) -> None:
        """Give an event that the relay failed on, or gave up, to the relay again.

        Raises `EventNotFound`, and `InvalidTransition` for one that was dispatched, whose deliveries are retried as
        jobs, and for one that is unknown.
        """
        known = _known(id)
        was = await self._database.run(lambda tx: operations.retry_event(tx, known), atomic=True)
        if was is None:
            raise EventNotFound(_missing(known))
        if was is EventState.UNKNOWN:
            raise InvalidTransition(
                f"event {known} waits for a release that declares it: start a worker of that release, or run "
                "`remit migrate` with it"
            )
        if was is EventState.DISPATCHED:
            raise InvalidTransition(
                f"event {known} was dispatched: retry its deliveries, which are jobs, or replay it to a subscription"
            )

    async def replay(
        self,
        *,
        to: str,
        since: datetime | None = None,
        until: datetime | None = None,
        rate: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Feed a subscription from the log, in order: one that is new, or was repaired. Answers how many deliveries.

        `to` is the whole name of the subscription. `since` and `until` bound when the events were published (default:
        all that is kept). An event that was delivered, or is under way, is not delivered again. `rate` bounds how many
        events are looked at in a second. `progress` gets how many were, of how many. While it goes on, an ordered
        subscription holds what is live, so that it sees everything in order; the relay brings it events that are not
        dispatched yet. Cancelled or interrupted half-way, it lets go what it held, and goes on when it is called again.
        Where its process is killed, or the database is away, a worker goes on with it after 15 seconds.

        Raises `UnknownSubscription` and `InvalidArgument`; `DamagedEvents`, when all others are delivered, for events
        that the store refuses; and `StoreError`.
        """
        if rate is not None and not rate > 0:
            raise InvalidArgument(f"rate is a number of events a second above 0, not {rate!r}")
        low, high = _moment("since", since), _moment("until", until)
        filling = await self._database.run(
            lambda tx: operations.begin_filling(tx, to, since=low, until=high, rate=rate), atomic=False
        )
        if filling is None:
            raise UnknownSubscription(await self._unknown(to))
        backfill = Backfill(self._database.run, filling)
        try:
            await self._fill(backfill, progress)
            await backfill.end()
        except StoreError as error:
            raise type(error)(f"{error}; the back-fill of {to} has stopped, and a worker goes on with it") from error
        except BaseException:
            await backfill.end()
            raise
        if backfill.damaged:
            raise DamagedEvents(_damaged(to, backfill))
        return backfill.made

    async def _fill(self, backfill: Backfill, progress: Callable[[int, int], None] | None) -> None:
        await wait_for_relays(self._database.run, self._database.sleep)
        names, span = backfill.filling.events, backfill.filling.span
        total = await self._database.run(
            lambda tx: operations.count_log(tx, names, since=span.since, until=span.until), atomic=False
        )
        more = True
        while more:
            begun, seen = time.monotonic(), backfill.seen
            more = await backfill.step()
            if progress is not None and backfill.seen > seen:
                progress(backfill.seen, max(total, backfill.seen))
            if more and span.rate is not None:
                await self._wait(backfill, (backfill.seen - seen) / span.rate - (time.monotonic() - begun))

    async def _wait(self, backfill: Backfill, seconds: float) -> None:
        """Sleep, and show now and then that the back-fill goes on."""
        while seconds > BEAT:
            await self._database.sleep(BEAT)
            await backfill.beat()
            seconds -= BEAT
        await self._database.sleep(max(0.0, seconds))

    async def _unknown(self, name: str) -> str:
        known = [each.name for each in await self._database.run(lambda tx: operations.subscriptions(tx, (), ()))]
        return f"there is no subscription {name!r} in the store, or it is retired.{nearest(name, known)}"


def _known(given: object) -> str:
    id = id_text(given)
    if id is None:
        raise EventNotFound(f"{given!r} is no id of an event: copy one from `remit events list`")
    return id


def _damaged(to: str, backfill: Backfill) -> str:
    of = backfill.damaged
    named = "; ".join(f"{each.name} {each.id}: {' '.join(each.reason.split())[:200]}" for each in of[:5])
    more = f"; and {len(of) - 5:,} more" if len(of) > 5 else ""
    return (
        f"{backfill.made:,} deliveries were made for {to}, and {len(of):,} of {backfill.seen:,} events could not be "
        f"delivered: {named}{more}. Mend what is stored of them and replay again, or leave them"
    )


def _missing(id: str) -> str:
    return f"no event {id!r}: it never existed, was rolled back, or was purged"


def _moment(what: str, at: datetime | None) -> int | None:
    if at is not None and at.utcoffset() is None:
        raise InvalidArgument(f"{what} has no time zone: pass an aware datetime, e.g. datetime.now(UTC)")
    return None if at is None else micros(at)


class SyncEvents(BlockingFace[Events]):
    """`app.sync.events`: the same verbs, blocking."""

    get = blocking(Events.get)
    list = blocking(Events.list)
    outbox = blocking(Events.outbox)
    retry = blocking(Events.retry)
    replay = blocking(Events.replay)
