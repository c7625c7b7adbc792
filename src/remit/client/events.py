"""`app.events`: the log of events, how the relay keeps up, and back-fills."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from remit.catalog import AnyId, id_text
from remit.client.faces import BlockingFace, Runs, blocking
from remit.client.filters import Called, by_that_name
from remit.errors import EventNotFound, InvalidArgument, InvalidTransition, UnknownSubscription, nearest
from remit.jobs.model import micros
from remit.outbox import operations
from remit.outbox.model import EventPage, EventRecord, EventState, Filled, OutboxRecord

LONGEST_PAGE = 1000
REPLAY_BATCH = 500
_BEGINNING = -1


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
        events are looked at in a second. `progress` is told how many were, of how many. While it goes on, an ordered
        subscription holds what is live, so that it sees everything in order; stopped half-way and called again, this
        goes on.

        Raises `UnknownSubscription` and `InvalidArgument`.
        """
        if rate is not None and not rate > 0:
            raise InvalidArgument(f"rate is a number of events a second above 0, not {rate!r}")
        low, high = _moment("since", since), _moment("until", until)
        filling = await self._database.run(lambda tx: operations.begin_filling(tx, to), atomic=False)
        if filling is None:
            raise UnknownSubscription(await self._unknown(to))
        try:
            return await self._fill(filling.subscription, filling.events, low, high, rate, progress)
        finally:
            await self._database.run(lambda tx: operations.end_filling(tx, filling), atomic=False)

    async def _fill(
        self,
        subscription: str,
        names: tuple[str, ...],
        since: int | None,
        until: int | None,
        rate: float | None,
        progress: Callable[[int, int], None] | None,
    ) -> int:
        total = await self._database.run(
            lambda tx: operations.count_log(tx, names, since=since, until=until), atomic=False
        )
        limit = REPLAY_BATCH if rate is None else max(1, min(REPLAY_BATCH, int(rate)))
        seen, made, after = 0, 0, _BEGINNING
        while True:
            begun = time.monotonic()
            batch = await self._batch(subscription, names, since, until, after, limit)
            seen, made, after = seen + batch.events, made + batch.deliveries, batch.after
            if progress is not None and batch.events:
                progress(seen, max(total, seen))
            if batch.events < limit:
                return made
            if rate is not None:
                await self._database.sleep(max(0.0, batch.events / rate - (time.monotonic() - begun)))

    async def _batch(
        self, subscription: str, names: tuple[str, ...], since: int | None, until: int | None, after: int, limit: int
    ) -> Filled:
        return await self._database.run(
            lambda tx: operations.fill(tx, subscription, names, since=since, until=until, after=after, limit=limit),
            atomic=False,
        )

    async def _unknown(self, name: str) -> str:
        known = [each.name for each in await self._database.run(lambda tx: operations.subscriptions(tx, (), ()))]
        return f"there is no subscription {name!r} in the store, or it is retired.{nearest(name, known)}"


def _known(given: object) -> str:
    id = id_text(given)
    if id is None:
        raise EventNotFound(f"{given!r} is no id of an event: copy one from `remit events list`")
    return id


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
