"""The sequencer advances ordered lanes wherever a delivery ended, and no other lane waits with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from remit import Domain, Event, Remit, Retry, Run, fixed
from remit.db import fallbacks
from remit.db.transaction import Role
from remit.outbox import operations as outbox
from remit.runtime.duties import sequencer as sequencers
from remit.telemetry import Telemetry
from tests.runtime.working import until, working


class Harbour(Domain[None], retry=Retry(attempts=2, backoff=fixed(0.01))):
    pass


harbour = Harbour()
pier = harbour.queue("pier", concurrency=20)


class Docked(Event[Harbour], ordered_by="berth"):
    n: int
    berth: str


class Log:
    def __init__(self) -> None:
        self.began: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self.gate = asyncio.Event()
        self.broken = {("strict", "b", 1), ("lax", "b", 1)}


log: Log


@pytest.fixture(autouse=True)
async def _clean() -> None:
    global log  # noqa: PLW0603 - what the handlers of this test write to
    log = Log()
    log.gate.set()


async def dock(by: str, event: Docked) -> None:
    log.began[by].append((event.berth, event.n))
    await log.gate.wait()
    if (by, event.berth, event.n) in log.broken:
        raise ValueError("broken")


@harbour.on(Docked, name="strict", queue=pier, ordered_by="berth")
async def strict(event: Docked, run: Run[Harbour]) -> None:
    await dock("strict", event)


@harbour.on(Docked, name="lax", queue=pier, ordered_by="berth", on_dead="pass")
async def lax(event: Docked, run: Run[Harbour]) -> None:
    await dock("lax", event)


def began(by: str, berth: str) -> list[int]:
    """The order in which the deliveries of a lane began, without retries."""
    order: list[int] = []
    for where, n in log.began[by]:
        if where == berth and n not in order[-1:]:
            order.append(n)
    return order


async def dead_delivery(app: Remit, event: str) -> str:
    async def found() -> str | None:
        records = (await app.events.get(event)).records
        return next(
            (each.job for each in records if each.subscription == "harbour.strict" and each.state == "dead"), None
        )

    job = await until(found, "the delivery is dead")
    assert job is not None
    return job


async def test_behind_a_dead_delivery_a_blocking_subscription_waits_and_a_passing_one_goes_on(store_url: str) -> None:
    async with working(store_url, harbour) as (app, _):
        refs = await harbour.publish_many([Docked(n=n, berth=berth) for n in range(4) for berth in ("a", "b")])
        await until(lambda: began("strict", "a") == began("lax", "a") == began("lax", "b") == [0, 1, 2, 3])
        job = await dead_delivery(app, refs[3].id)
        record = await app.events.get(refs[5].id)
        assert {each.subscription: each.state for each in record.records}["harbour.strict"] == "waiting"
        assert began("strict", "b") == [0, 1], "nobody goes past the dead one"
        log.broken.clear()
        await app.jobs.retry(job)
        await until(lambda: began("strict", "b") == [0, 1, 2, 3], "it goes on when a person has retried the dead one")


async def test_a_lane_goes_on_when_a_person_deletes_the_dead_delivery(store_url: str) -> None:
    async with working(store_url, harbour) as (app, _):
        refs = await harbour.publish_many([Docked(n=n, berth="b") for n in range(3)])
        await app.jobs.delete(await dead_delivery(app, refs[1].id))
        await until(lambda: began("strict", "b") == [0, 1, 2])


async def test_a_lane_goes_on_when_a_waiting_delivery_is_cancelled_by_hand(store_url: str) -> None:
    log.broken.clear()
    log.gate.clear()
    async with working(store_url, harbour) as (app, _):
        await app.queues.pause("harbour.pier")
        refs = await harbour.publish_many([Docked(n=n, berth="a") for n in range(3)])

        async def released() -> str | None:
            records = (await app.events.get(refs[0].id)).records
            return next((each.job for each in records if each.subscription == "harbour.strict"), None)

        job = await until(released, "the first is released")
        assert job is not None
        await app.jobs.cancel(job)
        await app.queues.resume("harbour.pier")
        log.gate.set()
        await until(lambda: began("strict", "a") == [1, 2], "the cancelled one is over")
        await until(lambda: began("lax", "a") == [0, 1, 2])


async def test_one_lane_that_is_slow_holds_up_no_other(store_url: str) -> None:
    log.broken.clear()
    log.gate.clear()
    async with working(store_url, harbour) as (_, __):
        await harbour.publish_many([Docked(n=n, berth="slow") for n in range(3)])
        await until(lambda: began("strict", "slow") == [0])
        first, log.gate = log.gate, asyncio.Event()
        log.gate.set()
        await harbour.publish_many([Docked(n=n, berth="quick") for n in range(5)])
        await until(lambda: began("strict", "quick") == [0, 1, 2, 3, 4])
        assert began("strict", "slow") == [0]
        first.set()
        await until(lambda: began("strict", "slow") == [0, 1, 2])


async def test_more_lanes_than_one_look_takes_all_move_on(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencers, "BATCH", 5)
    log.broken.clear()
    async with working(store_url, harbour) as (_, __):
        await harbour.publish_many([Docked(n=n, berth=f"berth-{k}") for n in range(2) for k in range(23)])
        await until(lambda: len(log.began["strict"]) == len(log.began["lax"]) == 46)
    assert all(began("strict", f"berth-{k}") == [0, 1] for k in range(23))


async def test_a_delivery_that_ended_elsewhere_is_found_by_the_sweep(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries that end elsewhere, or by hand: here, it hears nothing at all."""
    monkeypatch.setattr(sequencers.Sequencer, "advance", lambda *_: None)
    monkeypatch.setattr(fallbacks, "SEQUENCER", 0.02)
    monkeypatch.setattr(sequencers, "BATCH", 2)
    log.broken.clear()
    async with working(store_url, harbour) as (_, __):
        await harbour.publish_many([Docked(n=n, berth=f"berth-{k}") for n in range(3) for k in range(5)])
        await until(lambda: len(log.began["strict"]) == len(log.began["lax"]) == 15)
    assert all(began("lax", f"berth-{k}") == [0, 1, 2] for k in range(5))


async def test_a_lane_that_is_reported_while_it_advances_is_looked_at_again(store_url: str) -> None:
    """Else its next delivery would wait for the sweep."""
    app = Remit(store_url, domains=[harbour])
    await app.migrate()
    async with app:
        await harbour.publish(Docked(n=1, berth="a"))
        database = app.store.database(Role.RELAY)
        lanes = (await database.run(lambda tx: outbox.dispatch(tx, limit=10, keep=60.0))).lanes
        sequencer = sequencers.Sequencer(database, lambda: sequencer.advance(lanes), Telemetry())
        sequencer.advance(lanes)
        assert await sequencer.turn() == 0.0, "it asks again at once"
        assert await sequencer.turn() > 0.0
        await database.close()
