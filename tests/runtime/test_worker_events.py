"""What a worker does with events: what its runs publish, what travels with an event, and that drain() ends it all."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from remit import Cancelled, DeadLetter, Domain, Event, Job, JobRef, Remit, Retry, RetryAfter, Run, Skip, Snooze, fixed
from remit.errors import OwnershipError
from remit.runtime.duties.relay import Relay
from tests.runtime.working import ended, opened, until, working

AGAIN = Retry(attempts=3, backoff=fixed(0.01))


class Kitchen(Domain[None], retry=AGAIN):
    pass


class Table(Domain[None], retry=AGAIN):
    pass


kitchen, table = Kitchen(), Table()


class Cook(Job[Kitchen]):
    how: str = ""


class CookInThread(Job[Kitchen]):
    how: str = ""


class Plate(Job[Kitchen]):
    pass


class Serve(Job[Table]):
    number: int


class Cooked(Event[Kitchen]):
    number: int = 0


class Seasoned(Event[Kitchen], ordered_by="pot"):
    pot: str
    number: int = 0


class Served(Event[Table]):
    number: int


class Behaviour:
    """What the handlers do, as the test says."""

    cooks: Any = None
    tastes: Any = None
    turns: Any = None


seen: list[tuple[str, Run[Any]]] = []


@kitchen.handles(Cook)
async def cook(job: Cook, run: Run[Kitchen]) -> Any:
    answer = Behaviour.cooks(job, run)
    return await answer if asyncio.iscoroutine(answer) else answer


@kitchen.handles(CookInThread)
def cook_in_thread(job: CookInThread, run: Run[Kitchen]) -> Any:
    return Behaviour.cooks(job, run)


@kitchen.handles(Plate)
async def plate(job: Plate, run: Run[Kitchen]) -> None:
    pass


@table.on(Cooked, name="taste")
async def taste(event: Cooked, run: Run[Table]) -> None:
    seen.append(("taste", run))
    if Behaviour.tastes is not None:
        Behaviour.tastes(event, run)
    run.enqueue(Serve(number=event.number))


@table.handles(Serve)
async def serve(job: Serve, run: Run[Table]) -> None:
    seen.append(("serve", run))
    run.publish(Served(number=job.number))


@table.on(Served, name="clear")
async def clear(event: Served, run: Run[Table]) -> None:
    seen.append(("clear", run))


@table.on(Seasoned, name="in-turn", ordered_by="pot")
async def in_turn(event: Seasoned, run: Run[Table]) -> None:
    seen.append((f"in-turn {event.pot} {event.number}", run))
    if Behaviour.turns is not None:
        Behaviour.turns(event, run)


@pytest.fixture(autouse=True)
def _clean() -> None:
    Behaviour.cooks = Behaviour.tastes = Behaviour.turns = None
    seen.clear()


def names() -> list[str]:
    return [name for name, _ in seen]


def runs(name: str) -> list[Run[Any]]:
    return [run for who, run in seen if who == name]


async def published(app: Remit) -> list[str]:
    return sorted(event.name for event in (await app.events.list(limit=1000)).events if event.domain != "remit")


# --- inside the transaction of a completion


@contextlib.contextmanager
def own_connection(url: str) -> Iterator[Any]:
    """A handler's own connection, in a transaction."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
    else:
        with psycopg.connect(url) as db:
            yield db


async def test_what_a_run_publishes_is_committed_with_run_transaction_or_not_at_all(store_url: str) -> None:
    async def in_a_transaction(job: Cook, run: Run[Kitchen]) -> None:
        run.publish(Cooked(number=1))
        run.publish(Seasoned(pot="a"))
        async with run.transaction():
            if run.attempt < 3:
                raise ValueError("rolled back")

    Behaviour.cooks = in_a_transaction
    async with working(store_url, kitchen, table) as (app, _):
        assert (await ended(app, await kitchen.enqueue(Cook()))).failures == 2
        await until(lambda: "clear" in names() and "in-turn a 0" in names())
        assert await published(app) == ["kitchen.cooked", "kitchen.seasoned", "table.served"]


@pytest.mark.parametrize("kind", [Cook, CookInThread])
async def test_what_a_run_publishes_is_committed_with_run_complete_or_not_at_all(
    store_url: str, kind: type[Cook | CookInThread]
) -> None:
    def by_hand(job: Any, run: Run[Kitchen]) -> None:
        run.publish(Cooked(number=1))
        run.publish(Seasoned(pot="a"))
        with own_connection(store_url) as db:
            run.sync.complete("by hand", tx=db)
            db.rollback() if run.attempt == 1 else db.commit()

    async def by_hand_in_thread(job: Any, run: Run[Kitchen]) -> None:
        run.publish(Cooked(number=1))
        run.publish(Seasoned(pot="a"))
        with own_connection(store_url) as db:
            await run.complete("by hand", tx=db)
            db.rollback() if run.attempt == 1 else db.commit()

    Behaviour.cooks = by_hand if kind is CookInThread else by_hand_in_thread
    async with working(store_url, kitchen, table) as (app, _):
        record = await ended(app, await kitchen.enqueue(kind()))
        assert (record.state, record.failures, record.result) == ("completed", 1, "by hand")
        await until(lambda: "clear" in names() and "in-turn a 0" in names())
        assert await published(app) == ["kitchen.cooked", "kitchen.seasoned", "table.served"]


async def test_an_ordered_event_of_a_run_waits_for_its_turn_and_holds_up_no_other_outcome(postgres_url: str) -> None:
    """An open transaction of the application holds the lane."""

    def seasons(job: Cook, run: Run[Kitchen]) -> None:
        if job.how:
            run.publish(Seasoned(pot=job.how, number=2))

    Behaviour.cooks = seasons
    async with working(postgres_url, kitchen, table) as (app, _):
        async with await psycopg.AsyncConnection.connect(postgres_url) as caller:
            await kitchen.publish(Seasoned(pot="held", number=1), tx=caller)
            waiting = await kitchen.enqueue(Cook(how="held"))
            others = [await kitchen.enqueue(Cook(how=how)) for how in ("free", "", "free", "")]
            plain = await kitchen.enqueue_many([Plate() for _ in range(20)])
            for ref in [*others, *plain]:
                assert (await ended(app, ref)).state == "completed"
            assert (await app.jobs.get(waiting.id)).state == "running", "its event waits for its turn"
            await caller.commit()
        assert (await ended(app, waiting)).state == "completed"
        await until(lambda: "in-turn held 2" in names())
    held = [name for name in names() if " held " in name]
    assert held == ["in-turn held 1", "in-turn held 2"]


# --- what travels with an event


async def test_correlation_causation_and_trace_go_through_a_whole_chain(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    correlation = "0198c0de-0000-7000-8000-00000000c0de"
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    monkeypatch.setattr("remit.client.sender.traceparent", lambda: trace)  # what is open where the first is published
    async with working(store_url, kitchen, table) as (app, _):
        ref = await kitchen.publish(Cooked(number=1), correlation=correlation)
        await until(lambda: "clear" in names())
        [tasted], [served], [cleared] = runs("taste"), runs("serve"), runs("clear")
        assert tasted.event is not None
        assert (tasted.event.id, tasted.event.correlation, tasted.event.causation) == (ref.id, correlation, None)
        delivery, job = await app.jobs.get(tasted.job_id), await app.jobs.get(served.job_id)
        assert (delivery.correlation, delivery.causation) == (correlation, ref.id)
        assert (job.correlation, job.causation) == (correlation, tasted.job_id)
        assert cleared.event is not None
        assert (cleared.event.correlation, cleared.event.causation) == (correlation, served.job_id)
        assert (cleared.event.type, cleared.event.domain) == ("table.served", "table")
        assert (tasted.event.traceparent, cleared.event.traceparent) == (trace, trace)


async def test_without_a_correlation_the_event_is_the_root_of_what_follows(store_url: str) -> None:
    async with working(store_url, kitchen, table) as (app, _):
        ref = await kitchen.publish(Cooked(number=1))
        await until(lambda: "clear" in names())
        assert {(await app.jobs.get(run.job_id)).correlation for _, run in seen} == {ref.id}


async def test_run_key_is_the_same_through_retries_and_replays_of_a_delivery(store_url: str) -> None:
    def fails_twice(event: Cooked, run: Run[Table]) -> None:
        if len(runs("taste")) in (1, 2, 3):
            raise ValueError("not yet")

    Behaviour.tastes = fails_twice
    async with working(store_url, kitchen, table) as (app, _):
        refs = [await kitchen.publish(Cooked(number=1))]
        await until(lambda: len(runs("taste")) == 3)
        record = await until(lambda: dead_delivery(app, refs[0].id))
        await app.jobs.retry(record)
        await until(lambda: "serve" in names())
        refs.append(await kitchen.publish(Cooked(number=2)))
        await until(lambda: len(runs("taste")) == 5)
    keys = [run.key for run in runs("taste")]
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]


async def dead_delivery(app: Remit, event: str) -> str:
    records = (await app.events.get(event)).records
    return next((each.job or "" for each in records if each.state == "dead"), "")


# --- whose events


async def test_a_handler_that_publishes_the_event_of_another_domain_is_refused_and_counted(store_url: str) -> None:
    def trespasses(event: Cooked, run: Run[Any]) -> None:
        run.publish(Cooked(number=2))

    Behaviour.tastes = trespasses
    async with working(store_url, kitchen, table) as (app, worker):
        ref = await kitchen.publish(Cooked(number=1))
        job = await until(lambda: dead_delivery(app, ref.id))
        assert [failure.kind for failure in (await app.jobs.get(job)).errors] == ["remit.errors.OwnershipError"] * 3
        assert worker.health()["refused"] == 3
        assert await published(app) == ["kitchen.cooked"]


async def test_a_handler_that_reaches_for_another_domain_itself_is_refused_and_counted(store_url: str) -> None:
    async def reaches(job: Cook, run: Run[Kitchen]) -> str:
        with pytest.raises(OwnershipError):
            await table.publish(Served(number=1))
        return "refused"

    Behaviour.cooks = reaches
    async with working(store_url, kitchen, table) as (app, worker):
        assert (await ended(app, await kitchen.enqueue(Cook()))).result == "refused"
        assert worker.health()["refused"] == 1
        assert await published(app) == []


# --- the end


async def test_drain_brings_events_to_their_end_and_what_they_send(store_url: str) -> None:
    async with opened(store_url, kitchen, table) as app:
        await kitchen.publish_many([Cooked(number=n) for n in range(20)])
        await kitchen.publish_many([Seasoned(pot=f"pot-{n % 2}", number=n) for n in range(20)])
        await kitchen.publish_soon(Cooked(number=20))
        later = await kitchen.publish_later(Cooked(number=21), delay=600)
        await app.drain()
        counts = {name: names().count(name) for name in ("taste", "serve", "clear")}
        assert counts == {"taste": 21, "serve": 21, "clear": 21}
        for pot in ("pot-0", "pot-1"):
            numbers = [int(name.split()[2]) for name in names() if f" {pot} " in name]
            assert numbers == sorted(numbers)
            assert len(numbers) == 10
        assert (await app.jobs.get(later.id)).state == "scheduled", "what is due later stays"
        assert (await app.events.outbox()).pending == 0


async def test_drain_leaves_a_paused_queue_alone_and_what_waits_behind_it(store_url: str) -> None:
    async with opened(store_url, kitchen, table) as app:
        await app.queues.pause("table.default")
        await kitchen.publish_many([Seasoned(pot="a", number=n) for n in range(3)])
        await app.drain()
        assert not seen
        await app.queues.resume("table.default")
        await app.drain()
        assert names() == [f"in-turn a {n}" for n in range(3)]


async def test_drain_does_not_wait_behind_a_delivery_that_is_dead(store_url: str) -> None:
    def turns(event: Seasoned, run: Run[Table]) -> None:
        raise DeadLetter("for good")

    Behaviour.turns = turns
    async with opened(store_url, kitchen, table) as app:
        await kitchen.publish_many([Seasoned(pot="a", number=n) for n in range(3)])
        await app.drain()
        assert names() == ["in-turn a 0"], "the others wait for a person"


async def test_an_embedded_worker_that_stops_while_it_dispatches_leaves_nothing_half_done(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.runtime.duties.relay.BATCH", 3)
    async with opened(store_url, kitchen, table) as app:
        refs = await kitchen.publish_many([Cooked(number=n) for n in range(60)])
        while (await app.events.outbox()).pending:
            async with app.worker() as worker:
                await until(lambda: worker.parts.get(Relay).dispatched)
            for ref in refs:
                event = await app.events.get(ref.id)
                assert len(event.records) == (1 if event.state == "dispatched" else 0)
        await app.drain()
        assert names().count("clear") == 60


async def test_publish_later_fires_once_and_its_event_follows_from_it(store_url: str) -> None:
    async with working(store_url, kitchen, table) as (app, _):
        ref: JobRef = await kitchen.publish_later(Cooked(number=7), delay=0.01)
        cancelled = await kitchen.publish_later(Cooked(number=8), delay=600)
        await app.jobs.cancel(cancelled.id)
        await until(lambda: "clear" in names())
        [tasted] = runs("taste")
        assert tasted.event is not None
        assert tasted.event.causation == ref.id
        assert (await app.jobs.get(cancelled.id)).state == "cancelled"


async def test_a_run_publishes_later_if_and_only_if_it_succeeds(store_url: str) -> None:
    def later(job: Cook, run: Run[Kitchen]) -> None:
        run.publish_later(Cooked(number=5), delay=0.01)
        if job.how == "burn":
            raise DeadLetter("burnt")

    Behaviour.cooks = later
    async with working(store_url, kitchen, table) as (app, _):
        burnt = await kitchen.enqueue(Cook(how="burn"))
        await ended(app, burnt)
        ref = await kitchen.enqueue(Cook())
        await until(lambda: "clear" in names())
        [tasted] = runs("taste")
        assert tasted.event is not None
        assert tasted.event.correlation == ref.id
        assert await published(app) == ["kitchen.cooked", "table.served"]


@pytest.mark.parametrize("kind", [Cook, CookInThread])
@pytest.mark.parametrize(
    "signal, state",
    [
        (Skip("enough"), "skipped"),
        (Snooze(3600), "scheduled"),
        (RetryAfter(3600), "scheduled"),
        (Cancelled("stopped"), "cancelled"),
        (DeadLetter("no"), "dead"),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_run_that_ends_by_a_signal_sends_nothing(
    store_url: str, kind: type[Cook | CookInThread], signal: BaseException, state: str
) -> None:
    def sends_and_stops(job: Any, run: Run[Kitchen]) -> None:
        run.publish(Cooked(number=1))
        run.enqueue(Plate())
        raise signal

    Behaviour.cooks = sends_and_stops
    async with opened(store_url, kitchen, table) as app:
        ref = await kitchen.enqueue(kind())
        await app.drain()
        assert (await app.jobs.get(ref.id)).state == state
        assert await published(app) == []
        assert await app.jobs.count(job="kitchen.plate") == 0
