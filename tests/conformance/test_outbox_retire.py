"""A subscription is retired, and what is under way to it is cancelled: whatever state it is in, and passes into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from remit.client import Subscriptions
from remit.client import subscriptions as client
from remit.db.transaction import T, Transaction, Work
from remit.execution import operations as execution
from remit.execution.model import Allotment
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import Completed, Failed, GaveUp, Snoozed, State
from remit.outbox import operations as outbox
from remit.outbox.model import Differences, Retirement
from tests.conformance.desk import BOOM, DELIVERIES, QUEUE, WEEK, Desk, a_job, a_subscription, an_event, ended
from tests.conformance.test_races import meanwhile

LANE = 77


class Runs:
    """A desk as the faces of an application take it; it does something of the test's where it would sleep."""

    def __init__(self, desk: Desk, asleep: Callable[[], None]) -> None:
        self._desk = desk
        self._asleep = asleep

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        return await self._desk(work, atomic=atomic)

    async def sleep(self, seconds: float) -> None:
        self._asleep()
        await asyncio.sleep(0.001)


def never() -> None:
    raise AssertionError("nobody has anything in his hands")


async def no_differences(tx: Transaction) -> Differences:
    return Differences()


async def retire(
    desk: Desk, name: str = "catalog.unlock", asleep: Callable[[], None] = never, **options: Any
) -> Retirement:
    face = Subscriptions(Runs(desk, asleep), tuple, tuple, no_differences)
    return await face.retire(name, **{"cancel": True, **options})


async def delivered(desk: Desk, count: int = 1, **changes: Any) -> list[str]:
    """So many events, dispatched; the ids of their deliveries' jobs, where there is one."""
    ids = await desk.publish_many([an_event(**changes) for _ in range(count)])
    await desk.dispatch(keep=0.0)
    return [job for id in ids for job in [one.job for one in (await desk.event(id)).records] if job is not None]


async def states(desk: Desk, ids: list[str]) -> list[str]:
    return [await desk.state(id) for id in ids]


async def purged(desk: Desk) -> int:
    """How many events are left when the event pruner has looked at all whose time may be over."""
    desk.wait(600)
    await desk.purge_events(keep=0.0)
    return await desk.count("event", "state = 'dispatched'")


# --- what is cancelled


async def test_what_waits_is_cancelled_and_its_events_are_purged(desk: Desk) -> None:
    await desk.subscribe()
    scheduled = await delivered(desk, 2)
    await desk.deliver(Failed(BOOM, 3600.0))
    ready = await delivered(desk, 3)
    assert await purged(desk) == 5
    assert await retire(desk, by="ann") == Retirement(turns=0, cancelled=5)
    assert await states(desk, scheduled + ready) == ["cancelled"] * 5
    row = await desk.get(ready[0])
    assert (row.reason, row.cancelled_by) == ("its subscription was retired", "ann")
    assert row.finished_at is not None
    assert await purged(desk) == 0


async def test_without_it_what_is_under_way_stays(desk: Desk) -> None:
    await desk.subscribe()
    ids = await delivered(desk, 2)
    assert await retire(desk, cancel=False) == Retirement(turns=0)
    assert await states(desk, ids) == ["ready"] * 2
    assert await retire(desk) == Retirement(turns=0, cancelled=2), "and can be cancelled later"
    assert await retire(desk) == Retirement(turns=0)


async def test_what_runs_is_asked_to_stop_and_not_tried_again(desk: Desk) -> None:
    await desk.subscribe()
    await delivered(desk, 2)
    done, failed = await desk.under_way()
    assert await retire(desk) == Retirement(turns=0, asked_to_stop=2)
    assert await retire(desk) == Retirement(turns=0), "once"
    await desk.finish(done, Completed())
    await desk.finish(failed, Failed(BOOM, 3600.0))
    assert await states(desk, [done.id, failed.id]) == ["completed", "cancelled"]
    assert await purged(desk) == 0


async def test_what_has_ended_stays_as_it_is_and_a_dead_delivery_keeps_its_event(desk: Desk) -> None:
    await desk.subscribe()
    [completed] = await delivered(desk)
    await desk.deliver()
    [dead] = await delivered(desk)
    await desk.deliver(GaveUp("no", BOOM))
    assert await retire(desk) == Retirement(turns=0)
    assert await states(desk, [completed, dead]) == ["completed", "dead"]
    assert await purged(desk) == 1


async def test_nothing_of_anybody_else_is_cancelled(desk: Desk) -> None:
    """Whether it stands in the same line, or was given a name that this one had."""
    await desk.subscribe("catalog.unlock")
    own = await delivered(desk)
    renamed = a_subscription("catalog.open", aliases=["catalog.unlock"])
    await desk.declare(renamed)
    await desk.declare(renamed, a_subscription("catalog.unlock"))
    await desk.subscribe("mail.thank", line=1 << 15)
    jobs = [await desk.enqueue(), await desk.enqueue(delay=60), await desk.enqueue(line=DELIVERIES | 1)]
    await delivered(desk)
    assert await retire(desk, "catalog.open") == Retirement(turns=0, cancelled=2)
    assert await states(desk, own) == ["cancelled"]
    assert await states(desk, jobs) == ["ready", "scheduled", "ready"]
    left = {each.name: each.under_way for each in await desk.subscriptions()}
    assert {name: sum(one.count for one in each.values()) for name, each in left.items()} == {
        "catalog.open": 0,
        "catalog.unlock": 1,
        "mail.thank": 1,
    }


async def test_deliveries_under_former_names_of_other_queues_and_of_all_versions_are_found(desk: Desk) -> None:
    await desk.subscribe("catalog.open", line=1 << 15, queue="catalog.old")
    ids = await delivered(desk, 2, version=1) + await delivered(desk, version=2)
    await desk.declare(a_subscription("catalog.unlock", aliases=["catalog.open"], line=2 << 15))
    ids += await delivered(desk, 2, version=3)
    await desk.declare(a_subscription("catalog.unlock", aliases=["catalog.open"], line=3 << 15, queue="catalog.new"))
    ids += await delivered(desk)
    assert len(await desk(jobs.lines)) == 4
    assert await retire(desk) == Retirement(turns=0, cancelled=6)
    assert set(await states(desk, ids)) == {"cancelled"}


async def test_turns_go_and_the_one_whose_job_was_made_is_cancelled(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await delivered(desk, 3, lane=LANE)
    await desk.advance()
    assert await retire(desk) == Retirement(turns=2, cancelled=1)
    assert await purged(desk) == 0
    assert await desk.lanes() == {(subscription, LANE): True}
    assert await desk.release((subscription, LANE)) == (0, 1)
    assert await desk.count("turn") == 0


async def test_it_goes_on_in_batches_until_nothing_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CANCEL_BATCH", 2)
    await desk.subscribe()
    await delivered(desk)
    await desk.deliver(Snoozed(60.0))
    await delivered(desk, 4)
    told: list[int] = []
    assert await retire(desk, progress=told.append) == Retirement(turns=0, cancelled=5)
    assert told == [2, 4, 5]


async def test_nothing_of_a_subscription_that_is_in_use_can_be_cancelled(desk: Desk) -> None:
    subscription = await desk.subscribe()
    await delivered(desk, 2)
    assert await desk(outbox.cancellable, subscription, limit=9) == []
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    assert len(await desk(outbox.cancellable, subscription, limit=9)) == 2
    assert len(await desk(outbox.cancellable, subscription, limit=1)) == 1
    await desk.declare(a_subscription(), force=True)
    assert await desk(outbox.cancellable, subscription, limit=9) == []


async def test_what_is_claimed_or_ends_between_the_look_and_the_cancellation_is_asked_or_let_be(desk: Desk) -> None:
    subscription = await desk.subscribe()
    runs, ends = await delivered(desk, 2)
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    found = await desk(outbox.cancellable, subscription, limit=9)
    claims = {claim.id: claim for claim in await desk.under_way()}
    await desk.finish(claims[ends], Completed())
    assert await desk(jobs.cancel_many, found, reason="no", by=None) == [State.RUNNING]
    assert await states(desk, [runs, ends]) == ["running", "completed"]
    assert await desk.finish(claims[runs], Completed()), "it holds its lease"


async def sleeps(asleep: asyncio.Event) -> None:
    """Until somebody waits for what others have in their hands."""
    async with asyncio.timeout(20):
        await asleep.wait()


# --- two at once; elsewhere there is one writer at a time


async def test_what_a_worker_claims_at_that_moment_is_asked_to_stop(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    ids = await delivered(desk, 3)
    worker = await desk.register()
    asleep = asyncio.Event()
    async with meanwhile(desk) as (tx, _):
        await execution.claim(tx, [Allotment(DELIVERIES | 1, QUEUE, 1)], worker=worker, token=new_token())
        done = asyncio.create_task(retire(desk.another(), asleep=asleep.set))
        await sleeps(asleep)
    assert await done == Retirement(turns=0, cancelled=2, asked_to_stop=1)
    assert sorted(await states(desk, ids)) == ["cancelled", "cancelled", "running"]


async def test_a_worker_leaves_what_is_being_cancelled(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    ids = await delivered(desk, 2)
    worker = await desk.register()
    async with meanwhile(desk) as (tx, start):
        assert await jobs.cancel_many(tx, ids[:1], reason="no", by=None) == [State.CANCELLED]
        claims, _ = await start(
            execution.claim, [Allotment(DELIVERIES | 1, QUEUE, 9)], worker=worker, token=new_token()
        )
    assert [claim.id for claim in claims] == ids[1:]
    assert await states(desk, ids) == ["cancelled", "running"]


async def test_what_fails_at_that_moment_is_not_tried_again(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    await delivered(desk)
    worker = await desk.register()
    [claim] = await desk.claim(worker, line=DELIVERIES | 1)
    asleep = asyncio.Event()
    async with meanwhile(desk) as (tx, _):
        assert await execution.finish(tx, [ended(claim, Failed(BOOM, 60.0))], worker=worker, stamp=new_token())
        done = asyncio.create_task(retire(desk.another(), asleep=asleep.set))
        await sleeps(asleep)
    assert await done == Retirement(turns=0, cancelled=1)
    assert await desk.state(claim.id) is State.CANCELLED


async def test_what_becomes_ready_at_that_moment_is_cancelled(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    [id] = await delivered(desk)
    await desk.deliver(Snoozed(60.0))
    desk.wait(60)
    asleep = asyncio.Event()
    async with meanwhile(desk) as (tx, _):
        assert (await jobs.promote(tx, limit=9))[0] == 1
        done = asyncio.create_task(retire(desk.another(), asleep=asleep.set))
        await sleeps(asleep)
    assert await done == Retirement(turns=0, cancelled=1)
    assert await desk.state(id) is State.CANCELLED


@pytest.mark.parametrize("ordered", [False, True])
async def test_what_a_relay_delivers_that_has_not_seen_the_retirement_goes_too(
    postgres_desk: Desk, ordered: bool
) -> None:
    desk = postgres_desk
    await desk.subscribe(ordered_by="invoice_id" if ordered else None)
    await desk.publish_many([an_event(lane=LANE) for _ in range(3)])
    asleep = asyncio.Event()
    async with meanwhile(desk) as (tx, _):
        assert (await outbox.dispatch(tx, limit=9, keep=0.0)).events == 3
        done = asyncio.create_task(retire(desk.another(), asleep=asleep.set))
        await sleeps(asleep)
    assert await done == (Retirement(turns=3) if ordered else Retirement(turns=0, cancelled=3))
    assert await desk.count("turn") == 0
    assert await purged(desk) == 0


async def test_it_waits_for_nobody_else(postgres_desk: Desk) -> None:
    """Not for a caller's transaction that has sent jobs, nor for whoever reads the tables."""
    desk = postgres_desk
    store = await desk.identity()
    await desk.subscribe()
    await delivered(desk)
    async with meanwhile(desk) as (tx, start), desk.another().session() as (reading, _):
        await jobs.enqueue(tx, [a_job()], store=store)
        await outbox.publish(tx, [an_event()], store=store)
        await outbox.subscriptions(reading, (), ())
        assert await start(outbox.delivering) == set()
        assert await retire(desk.another()) == Retirement(turns=0, cancelled=1)
    async with meanwhile(desk) as (tx, start):
        await outbox.dispatch(tx, limit=9, keep=WEEK)
        assert len(await start(outbox.delivering)) == 1
