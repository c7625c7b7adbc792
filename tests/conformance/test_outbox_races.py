"""Two statements of the outbox meet. Staged as in `test_races`: the first one's transaction is held open until the
second has passed, or waits for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remit.db.transaction import Role, Transaction
from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import Completed, GaveUp
from remit.outbox import operations as outbox
from remit.outbox.filling import wait_for_relays
from tests.conformance.desk import BOOM, PAID, QUEUE, WEEK, Desk, a_subscription, an_event, ended
from tests.conformance.test_races import meanwhile, waits

LANE = 77
DISPATCH: dict[str, Any] = {"limit": 100, "keep": WEEK}
PURGE: dict[str, Any] = {"keep": WEEK, "archive": True, "again": 10.0, "limit": 100}
PRUNE: dict[str, Any] = {"queue": QUEUE, "age": 0.0, "limit": 100}
FILL: dict[str, Any] = {"since": None, "until": None, "after": -1, "limit": 100}


async def declare(tx: Transaction, *rows: dict[str, Any]) -> list[tuple[str, str]]:
    return await outbox.declare(tx, rows, force=False)


async def events_in_order(desk: Desk) -> list[str]:
    return [str(id) for (id,) in await desk.execute("SELECT id FROM {event} ORDER BY seq")]


async def states(desk: Desk, ids: list[str]) -> list[str | None]:
    return [(await desk.deliveries(id)).get("catalog.unlock") for id in ids]


async def ordered(desk: Desk, count: int = 3) -> tuple[str, list[str]]:
    """An ordered subscription, and as many turns in one lane."""
    subscription = await desk.subscribe(ordered_by="invoice_id")
    ids = await desk.publish_many([an_event(lane=LANE) for _ in range(count)])
    await desk.dispatch()
    return subscription, ids


# --- who hears what


async def test_a_subscription_that_commits_while_a_dispatch_runs_hears_what_is_committed_after_it(
    postgres_desk: Desk,
) -> None:
    desk = postgres_desk
    before = await desk.publish()
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 1
        await start(declare, a_subscription(), atomic=True)
        after = await desk.another().publish()
        assert (await start(outbox.dispatch, **DISPATCH)).jobs == 1
    subscription = await desk.subscription()
    assert await states(desk, [before, after]) == [None, "ready"]
    assert (await desk.fill(subscription.id)).deliveries == 1
    assert await states(desk, [before, after]) == ["ready", "ready"]


async def test_what_is_dispatched_while_a_subscription_is_being_entered_can_be_filled(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await desk.publish()
    async with meanwhile(desk) as (tx, start):
        await declare(tx, a_subscription())
        assert (await start(outbox.dispatch, **DISPATCH)).jobs == 0
    assert (await desk.fill((await desk.subscription()).id)).deliveries == 1
    assert await states(desk, [id]) == ["ready"]


async def test_a_back_fill_waits_for_a_relay_that_does_not_know_the_subscription(postgres_desk: Desk) -> None:
    """An ordered one leaves to the relay what is not dispatched yet, and this relay would leave it out."""
    desk = postgres_desk
    id = await desk.publish(lane=LANE)
    filler, asked = desk.another(), asyncio.Event()

    async def run(work: Any, *, atomic: bool) -> Any:
        return await filler(work, atomic=atomic)

    async def sleep(_: float) -> None:
        asked.set()
        await asyncio.sleep(0)

    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 1
        await start(declare, a_subscription(ordered_by="invoice_id"), atomic=True)
        waiting = asyncio.create_task(wait_for_relays(run, sleep))
        await asked.wait()
        assert not waiting.done()
    await waiting
    subscription = await desk.subscription()
    assert await states(desk, [id]) == [None]
    assert (await desk.fill(subscription.id)).deliveries == 1


async def test_ids_that_commit_out_of_order_are_all_dispatched(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    store = await desk.identity()
    first = an_event()
    async with meanwhile(desk) as (tx, start):
        await outbox.publish(tx, [first], store=store)
        second = await desk.another().publish()
        assert (await start(outbox.dispatch, **DISPATCH)).events == 1
    assert await events_in_order(desk) == [first["id"], second]
    assert await states(desk, [first["id"], second]) == [None, "ready"]
    assert (await desk.dispatch()).events == 1
    assert await states(desk, [first["id"], second]) == ["ready", "ready"]


async def test_a_dispatch_leaves_what_another_has(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    ids = await desk.publish_many([an_event() for _ in range(4)])
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, limit=2, keep=WEEK)).events == 2
        assert (await start(outbox.dispatch, **DISPATCH)).events == 2
    assert await states(desk, ids) == ["ready"] * 4


async def test_many_relays_at_once_deliver_everything_once(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe("catalog.unlock", ordered_by="invoice_id")
    await desk.subscribe("mail.thank", line=1 << 15)
    await desk.publish_many([an_event(**({"lane": place % 7} if place % 3 else {})) for place in range(300)])
    relays = [desk.another() for _ in range(4)]
    done = 0
    while await desk.count("event", "state = 'pending'"):
        found = await asyncio.gather(*(relay.dispatch(limit=20) for relay in relays))
        done += sum(one.events for one in found)
    assert done == 300
    assert await desk.count("turn") == 200
    assert await desk.count("job") == 300 + 100
    assert (await desk.fill((await desk.subscription("mail.thank")).id, limit=1000)).deliveries == 0


# --- back-fill


async def test_a_fill_waits_for_the_dispatch_of_the_same_event_and_one_delivery_is_made(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await desk.publish()
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 1
        filled = start(outbox.fill, subscription, [PAID], **FILL)
        await waits(desk, filled)
    assert (await filled).deliveries == 0
    assert await desk.count("job") + await desk.count("turn") == 1


async def test_a_dispatch_and_a_fill_of_the_same_events_do_not_lock_each_other_out(postgres_desk: Desk) -> None:
    """Both insert in one order. A third has the middle one: were their orders opposed, each would have one end by then,
    and would want the other's.
    """
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    ids = await desk.publish_many([an_event() for _ in range(3)])
    [first, *_] = [seq for (seq,) in await desk.execute("SELECT seq FROM {event} ORDER BY seq")]
    async with meanwhile(desk) as (tx, _):
        assert (await outbox.fill(tx, subscription, [PAID], **{**FILL, "after": first, "limit": 1})).deliveries == 1
        dispatched = asyncio.create_task(in_one_try(desk, outbox.dispatch, **DISPATCH))
        await waits(desk, dispatched)
        filled = asyncio.create_task(in_one_try(desk, outbox.fill, subscription, [PAID], **FILL))
        await waits(desk, dispatched, filled)
    assert (await dispatched).events == 3
    assert (await filled).events == 3
    assert await desk.count("job") + await desk.count("turn") == len(ids)


async def in_one_try(desk: Desk, operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Elsewhere a deadlock is tried again."""
    async with desk.another().session() as (tx, _):
        return await operation(tx, *args, **kwargs)


async def test_a_dispatch_waits_for_the_fill_of_the_same_event_and_one_delivery_is_made(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    id = await desk.publish()
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.fill(tx, subscription, [PAID], **FILL)).deliveries == 1
        dispatched = start(outbox.dispatch, **DISPATCH)
        await waits(desk, dispatched)
    assert ((await dispatched).events, (await dispatched).jobs) == (1, 0)
    assert await desk.count("job") + await desk.count("turn") == 1
    assert (await desk.event(id)).deliveries == 1


async def test_a_fill_leaves_an_ordered_event_to_the_dispatch_that_has_it_in_hand(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await desk.publish(lane=LANE)
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 1
        assert (await start(outbox.fill, subscription, [PAID], **FILL)).deliveries == 0
    assert await desk.count("turn") == 1


async def test_two_fills_at_once_make_one_delivery(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe()
    await desk.publish_many([an_event() for _ in range(5)])
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.fill(tx, subscription, [PAID], **FILL)).deliveries == 5
        again = start(outbox.fill, subscription, [PAID], **FILL)
        await waits(desk, again)
    assert (await again).deliveries == 0
    assert await desk.count("job") == 5


@pytest.mark.parametrize("dead", [False, True])
async def test_a_fill_does_not_deliver_what_is_being_pruned(postgres_desk: Desk, dead: bool) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe()
    await desk.publish()
    await desk.dispatch()
    await desk.deliver(GaveUp("no", BOOM) if dead else Completed())
    desk.wait(1)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.prune(tx, dead=dead, **PRUNE) == 1
        assert (await start(outbox.fill, subscription, [PAID], **FILL)).deliveries == 0
    assert (await desk.fill(subscription)).deliveries == int(dead), "what died and is gone is delivered again"


async def test_a_fill_waits_for_the_purger_and_delivers_no_event_that_is_gone(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.publish()
    await desk.dispatch()
    subscription = await desk.subscribe()
    desk.wait(2 * WEEK)
    async with meanwhile(desk) as (tx, start):
        assert await outbox.purge_events(tx, **PURGE) == (1, 1)
        filled = start(outbox.fill, subscription, [PAID], **FILL)
        await waits(desk, filled)
    assert ((await filled).events, (await filled).deliveries) == (0, 0)
    assert await desk.count("job") == 0


async def test_the_purger_leaves_what_is_being_filled(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await desk.publish()
    await desk.dispatch()
    subscription = await desk.subscribe()
    desk.wait(2 * WEEK)
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.fill(tx, subscription, [PAID], **FILL)).deliveries == 1
        assert await start(outbox.purge_events, **PURGE) == (0, 0)
    assert await desk(outbox.purge_events, **PURGE) == (1, 0)
    assert await states(desk, [id]) == ["ready"]


@pytest.mark.parametrize("lane", [None, LANE])
async def test_no_event_is_purged_that_a_back_fill_delivers_at_that_moment(
    postgres_desk: Desk, lane: int | None
) -> None:
    """A purge that began before the fill committed does not see what it did, and has the lock only afterwards."""
    desk, purger = postgres_desk, postgres_desk.another()
    for turn in range(8):
        await desk.publish_many([an_event(**({} if lane is None else {"lane": lane})) for _ in range(500)])
        await desk.dispatch(limit=1000)
        ordered_by = None if lane is None else "invoice_id"
        subscription = await desk.subscribe(f"catalog.n{turn}", ordered_by=ordered_by, line=(turn + 1) << 15)
        desk.wait(2 * WEEK)
        purger.now = desk.now
        filled = asyncio.create_task(_fill_all(desk, subscription))
        while not filled.done():
            await purger.purge_events(limit=20)
        await filled
        for table, event in (("job", "event_id"), ("turn", "event")):
            orphans = await desk.count(table, f"{event} NOT IN (SELECT id FROM {{event}})")
            assert orphans == 0, (turn, table)
        for table in ("turn", "job", "event", "subscription"):
            await desk.execute(f"DELETE FROM {{{table}}}")


async def _fill_all(desk: Desk, subscription: str) -> None:
    after = -1
    while (batch := await desk.fill(subscription, after=after, limit=50)).events:
        after = batch.after


# --- purge and prune


async def delivered_twice_over(desk: Desk, *, both: bool) -> str:
    """An event whose time is over, with two deliveries: one has ended, and if `both`, so has the other."""
    await desk.subscribe("catalog.unlock")
    await desk.subscribe("mail.thank", line=1 << 15)
    id = await desk.publish()
    await desk.dispatch()
    await desk.deliver()
    if both:
        for claim in await desk.claim(await desk.register(), line=(1 << 15) | 1):
            await desk.finish(claim, Completed())
    desk.wait(2 * WEEK)
    return id


async def test_the_pruner_waits_for_the_purger_and_leaves_nothing_of_an_event_that_is_gone(
    postgres_desk: Desk,
) -> None:
    desk = postgres_desk
    await delivered_twice_over(desk, both=True)
    async with meanwhile(desk) as (tx, start):
        assert await outbox.purge_events(tx, **PURGE) == (1, 1)
        pruned = start(jobs.prune, dead=False, **PRUNE)
        await waits(desk, pruned)
    assert await pruned == 2
    assert await desk.count("delivery") == 0


async def test_the_pruner_waits_for_a_purger_that_lets_the_event_be_and_keeps_what_is_left_of_the_delivery(
    postgres_desk: Desk,
) -> None:
    desk = postgres_desk
    id = await delivered_twice_over(desk, both=False)
    async with meanwhile(desk) as (tx, start):
        assert await outbox.purge_events(tx, **PURGE) == (1, 0)
        pruned = start(jobs.prune, dead=False, **PRUNE)
        await waits(desk, pruned)
    assert await pruned == 1
    assert await desk.deliveries(id) == {"catalog.unlock": "completed", "mail.thank": "ready"}
    assert (await desk.fill((await desk.subscription()).id)).deliveries == 0


async def test_the_purger_leaves_an_event_whose_delivery_is_being_pruned(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await delivered_twice_over(desk, both=True)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.prune(tx, dead=False, **PRUNE) == 2
        assert await start(outbox.purge_events, **PURGE) == (0, 0)
    assert await desk(outbox.purge_events, **PURGE) == (1, 1)
    assert (await desk.count("delivery"), await desk.count("event_archive")) == (0, 1)


async def test_the_pruner_waits_for_no_dispatch(postgres_desk: Desk) -> None:
    """Of an event that a back-fill has delivered already."""
    desk = postgres_desk
    subscription = await desk.subscribe()
    id = await desk.publish()
    await desk.fill(subscription)
    await desk.deliver()
    desk.wait(1)
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 1
        assert await start(jobs.prune, dead=False, **PRUNE) == 1
    assert await states(desk, [id]) == ["completed"]


async def test_two_purgers_at_once_purge_once(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await delivered_twice_over(desk, both=True)
    async with meanwhile(desk) as (tx, start):
        assert await outbox.purge_events(tx, **PURGE) == (1, 1)
        assert await start(outbox.purge_events, **PURGE) == (0, 0)
    assert await desk.count("event_archive") == 1


# --- order


async def test_a_publisher_waits_for_the_one_before_in_its_lane_and_for_no_other(postgres_desk: Desk) -> None:
    desk = postgres_desk
    store = await desk.identity()
    first, second, third = an_event(lane=LANE), an_event(lane=LANE), an_event(lane=LANE + 1)
    async with meanwhile(desk) as (tx, start):
        await outbox.publish(tx, [first], store=store)
        behind = start(outbox.publish, [second], store=store)
        await waits(desk, behind)
        await start(outbox.publish, [third], store=store)
        await start(outbox.publish, [an_event()], store=store)
    await behind
    assert [id for id in await events_in_order(desk) if id in (first["id"], second["id"])] == [
        first["id"],
        second["id"],
    ]


async def test_a_publisher_that_rolled_back_lets_the_next_on(postgres_desk: Desk) -> None:
    desk = postgres_desk
    store = await desk.identity()
    tasks: list[asyncio.Task[Any]] = []
    with pytest.raises(LookupError):  # noqa: PT012
        async with meanwhile(desk) as (tx, start):
            await outbox.publish(tx, [an_event(lane=LANE)], store=store)
            tasks.append(start(outbox.publish, [an_event(lane=LANE)], store=store))
            await waits(desk, *tasks)
            raise LookupError
    assert await tasks[0] == 1
    assert await desk.count("event") == 1


async def test_publishers_of_several_lanes_do_not_lock_each_other_out_however_many_events_they_have(
    postgres_desk: Desk,
) -> None:
    desk = postgres_desk
    store = await desk.identity()
    many = [*(an_event(lane=2) for _ in range(outbox.LARGEST_INSERT)), an_event(lane=1)]
    async with meanwhile(desk) as (tx, start):
        await outbox.publish(tx, [an_event(lane=1)], store=store)
        few = start(outbox.publish, [an_event(lane=2), an_event(lane=1)], store=store, atomic=True)
        await waits(desk, few)
        both = [few, start(outbox.publish, many, store=store, atomic=True)]
        await waits(desk, *both)
        [(granted,)] = await desk.another().execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
            " AND classid = 0 AND objid = 2"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert granted == 0, "nobody holds the later lane while he waits for the earlier"
    assert [await one for one in both] == [2, len(many)]


async def test_a_completion_that_publishes_waits_for_the_publisher_of_its_lane(postgres_desk: Desk) -> None:
    desk = postgres_desk
    store, worker = await desk.identity(), await desk.register()
    claim = await desk.running(worker)
    first, second = an_event(lane=LANE), an_event(lane=LANE, causation=claim.id)
    end = ended(claim, Completed())
    end.events = [second]
    async with meanwhile(desk) as (tx, start):
        await outbox.publish(tx, [first], store=store)
        finished = start(execution.finish, [end], worker=worker, stamp=new_token())
        await waits(desk, finished)
    assert len(await finished) == 1
    assert await events_in_order(desk) == [first["id"], second["id"]]


async def test_a_relay_does_not_take_what_stands_behind_an_event_in_another_relays_hands(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe(ordered_by="invoice_id")
    first, second, other = await desk.publish_many([an_event(lane=lane) for lane in (LANE, LANE, LANE + 1)])
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, limit=1, keep=WEEK)).events == 1
        done = await start(outbox.dispatch, **DISPATCH)
        assert (done.seen, done.events) == (2, 1), "only the one of the other lane"
    assert await states(desk, [first, second, other]) == ["waiting", None, "waiting"]
    assert (await desk.dispatch()).events == 1
    assert await states(desk, [second]) == ["waiting"]


async def test_a_relay_does_not_pass_an_event_that_another_relay_is_failing_on(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe(ordered_by="invoice_id")
    first, second = await desk.publish_many([an_event(lane=LANE) for _ in range(2)])
    async with meanwhile(desk) as (tx, start):
        await outbox.fail(tx, first, error="no", most=1, delay=0.0)
        assert (await start(outbox.dispatch, **DISPATCH)).events == 0
    assert (await desk.dispatch()).events == 0, "it is dead, and blocks"
    assert await states(desk, [first, second]) == [None, None]


async def test_a_failure_waits_for_the_dispatch_of_another_relay_and_is_not_noted(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await desk.publish()
    async with meanwhile(desk) as (tx, start):
        await outbox.dispatch(tx, **DISPATCH)
        failed = start(outbox.fail, id, error="no", most=1, delay=0.0)
        await waits(desk, failed)
        retried = start(outbox.retry_event, id)
        await waits(desk, failed, retried)
    assert (await failed, await retried) == (None, "dispatched")
    assert (await desk.event(id)).state == "dispatched"


# --- two at once in one lane


async def test_of_two_that_begin_a_lane_one_does(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription, ids = await ordered(desk)
    async with meanwhile(desk) as (tx, start):
        assert await outbox.release(tx, [(subscription, LANE)]) == (1, 0)
        second = start(outbox.release, [(subscription, LANE)])
        await waits(desk, second)
    assert await second == (0, 0)
    assert await states(desk, ids) == ["ready", "waiting", "waiting"]


async def test_of_two_that_move_a_lane_on_one_does(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription, ids = await ordered(desk)
    await desk.advance()
    await desk.deliver()
    async with meanwhile(desk) as (tx, start):
        assert await outbox.release(tx, [(subscription, LANE)]) == (1, 1)
        second = start(outbox.release, [(subscription, LANE)])
        await waits(desk, second)
    assert await second == (0, 0)
    assert await states(desk, ids) == ["completed", "ready", "waiting"]


async def test_a_release_that_began_before_the_next_was_there_moves_on_by_one_at_most(postgres_desk: Desk) -> None:
    """Who waited for the lock must not take the new head for one that has ended."""
    desk = postgres_desk
    subscription, ids = await ordered(desk)
    await desk.advance()
    await desk.deliver()
    async with meanwhile(desk) as (tx, start):
        await outbox.release(tx, [(subscription, LANE)])
        others = [start(outbox.release, [(subscription, LANE)]) for _ in range(4)]
        await waits(desk, *others)
    assert [await one for one in others] == [(0, 0)] * 4
    assert await states(desk, ids) == ["completed", "ready", "waiting"]


async def test_releases_of_many_lanes_at_once_do_not_lock_each_other_out(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await desk.publish_many([an_event(lane=lane) for lane in range(20)])
    await desk.dispatch()
    lanes = [(subscription, lane) for lane in range(20)]
    async with meanwhile(desk) as (tx, start):
        await outbox.release(tx, lanes[10:11])
        both = [start(outbox.release, asked) for asked in (lanes, lanes[::-1])]
        await waits(desk, *both)
    assert sorted([await both[0], await both[1]]) == [(0, 0), (19, 0)]
    assert await desk.count("job") == 20


@pytest.mark.parametrize("how", ["finish", "cancel", "delete", "purge", "prune"])
async def test_a_release_waits_for_no_end_and_finds_it_when_it_is_committed(postgres_desk: Desk, how: str) -> None:
    desk = postgres_desk
    subscription, ids = await ordered(desk)
    await desk.advance()
    head = await desk.delivery(ids[0])
    worker = await desk.register()
    if how == "finish":
        [claim] = await desk.under_way()
    elif how == "prune":
        await desk.deliver(GaveUp("no", BOOM))
        desk.wait(1)
    async with meanwhile(desk) as (tx, start):
        match how:
            case "finish":
                await execution.finish(tx, [ended(claim, Completed())], worker=worker, stamp=new_token())
            case "cancel":
                await jobs.cancel(tx, head, reason="no", by=None)
            case "delete" | "purge":
                await jobs.delete(tx, head, purge=how == "purge")
            case "prune":
                await jobs.prune(tx, dead=True, **PRUNE)
        assert await start(outbox.release, [(subscription, LANE)]) == (0, 0)
    assert await desk.lanes() == {(subscription, LANE): True}
    assert await desk.release((subscription, LANE)) == (1, 1)
    assert (await states(desk, ids))[1:] == ["ready", "waiting"]


async def test_a_release_waits_for_no_dispatch_into_its_lane(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription, ids = await ordered(desk, 1)
    late = await desk.publish(lane=LANE)
    async with meanwhile(desk) as (tx, start):
        await outbox.dispatch(tx, **DISPATCH)
        assert await start(outbox.release, [(subscription, LANE)]) == (1, 0)
    assert await states(desk, [*ids, late]) == ["ready", "waiting"]


# --- declarations


async def test_of_two_workers_that_declare_the_same_at_once_one_enters_it(postgres_desk: Desk) -> None:
    desk = postgres_desk
    async with meanwhile(desk) as (tx, start):
        assert await declare(tx, a_subscription()) == [("catalog.unlock", "entered")]
        second = start(declare, a_subscription(), atomic=True)
        await waits(desk, second)
    assert await second == []
    assert await desk.count("subscription") == 1


async def test_of_two_declarations_at_once_the_later_is_not_lost(postgres_desk: Desk) -> None:
    desk = postgres_desk
    async with meanwhile(desk) as (tx, start):
        await declare(tx, a_subscription(attempts=1))
        second = start(declare, a_subscription(attempts=2), atomic=True)
        await waits(desk, second)
    assert await second == [("catalog.unlock", "changed")]
    assert await desk.declare(a_subscription(attempts=1)) == []
    assert (await desk.subscription()).attempts == 2


@pytest.mark.parametrize("old_first", [False, True])
async def test_a_rename_and_an_old_worker_at_once_leave_one_row(postgres_desk: Desk, old_first: bool) -> None:
    desk = postgres_desk
    old, new = a_subscription("catalog.open"), a_subscription(aliases=["catalog.open"])
    first, second = (old, new) if old_first else (new, old)
    async with meanwhile(desk) as (tx, start):
        await declare(tx, first)
        waiting = start(declare, second, atomic=True)
        await waits(desk, waiting)
    await waiting
    [found] = await desk.subscriptions()
    assert found.name == "catalog.unlock"


async def test_a_declaration_waits_for_no_dispatch(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe(ordered_by="invoice_id")
    await desk.publish(lane=LANE)
    async with meanwhile(desk) as (tx, start):
        await outbox.dispatch(tx, **DISPATCH)
        assert await start(declare, a_subscription(attempts=9), atomic=True) == [("catalog.unlock", "changed")]


async def test_a_dispatch_waits_for_no_declaration(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    await desk.publish()
    async with meanwhile(desk) as (tx, start):
        await declare(tx, a_subscription(attempts=9))
        assert (await start(outbox.dispatch, **DISPATCH)).jobs == 1


async def test_turns_that_come_while_a_subscription_is_retired_are_not_delivered(postgres_desk: Desk) -> None:
    desk = postgres_desk
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await desk.publish_many([an_event(lane=LANE) for _ in range(2)])
    async with meanwhile(desk) as (tx, start):
        assert (await outbox.dispatch(tx, **DISPATCH)).events == 2
        assert await start(outbox.retire, "catalog.unlock") == (subscription, 0)
    for _ in range(2):
        assert await desk.lanes() == {(subscription, LANE): True}
        assert await desk.release((subscription, LANE)) == (0, 1)
    assert (await desk.count("turn"), await desk.count("job")) == (0, 0)


async def test_a_dispatch_that_begins_before_a_retirement_commits_may_still_deliver(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    id = await desk.publish()
    async with meanwhile(desk) as (tx, start):
        await outbox.retire(tx, "catalog.unlock")
        assert (await start(outbox.dispatch, **DISPATCH)).jobs == 1
    assert await states(desk, [id]) == ["ready"]
    late = await desk.publish()
    await desk.dispatch()
    assert await states(desk, [late]) == [None]


async def test_an_event_that_two_publish_at_once_is_published_once(postgres_desk: Desk) -> None:
    desk = postgres_desk
    store, event = await desk.identity(), an_event()
    async with meanwhile(desk) as (tx, start):
        assert await outbox.publish(tx, [event], store=store) == 1
        again = start(outbox.publish, [{**event, "payload": "{}"}], store=store)
        await waits(desk, again)
    assert await again == 0
    assert (await desk.event(event["id"])).payload_text == event["payload"]


async def test_a_rescue_and_a_dispatch_wait_for_neither(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await desk.subscribe()
    await desk.publish()
    await desk.dispatch()
    worker = await desk.register()
    await desk.claim(worker, line=a_subscription()["line"] | 1)
    await desk.die(worker)
    await desk.publish()
    async with meanwhile(desk) as (tx, start):
        await outbox.dispatch(tx, **DISPATCH)
        assert len(await start(execution.rescue, token=new_token(), limit=10, role=Role.LEADER)) == 1
