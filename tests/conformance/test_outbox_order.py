"""Ordered subscriptions: one delivery of a lane at a time, in the order of its events, through retries and deaths."""

from __future__ import annotations

import pytest

from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, GaveUp, Outcome, Skipped, Snoozed
from remit.outbox import operations as outbox
from remit.outbox.model import EventState
from tests.conformance.desk import BOOM, Desk, an_event

LANE, OTHER = 77, -(2**63)


async def ordered(desk: Desk, *lanes: int, on_dead: str = "block") -> tuple[str, list[str]]:
    """A subscription, and events of some lanes that were dispatched to it."""
    subscription = await desk.subscribe(ordered_by="invoice_id", on_dead=on_dead)
    ids = await desk.publish_many([an_event(lane=lane) for lane in lanes])
    await desk.dispatch()
    return subscription, ids


async def states(desk: Desk, ids: list[str]) -> list[str | None]:
    return [(await desk.deliveries(id)).get("catalog.unlock") for id in ids]


async def test_a_dispatch_tells_which_lanes_have_something_new_and_makes_no_job(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    ids = await desk.publish_many([an_event(lane=lane) for lane in (LANE, OTHER, LANE)])
    done = await desk.dispatch()
    assert (done.events, done.jobs) == (3, 0)
    assert sorted(done.lanes) == sorted([(subscription, LANE), (subscription, OTHER)])
    assert await desk.count("job") == 0
    assert await states(desk, ids) == ["waiting"] * 3
    assert (await desk.event(ids[0])).deliveries == 1


async def test_a_release_lets_the_first_of_each_lane_in(desk: Desk) -> None:
    subscription, ids = await ordered(desk, LANE, OTHER, LANE)
    assert await desk.release((subscription, LANE), (subscription, OTHER)) == (2, 0)
    assert await states(desk, ids) == ["ready", "ready", "waiting"]
    assert await desk.release((subscription, LANE), (subscription, OTHER)) == (0, 0), "nothing has ended"
    assert await desk.count("job") == 2


@pytest.mark.parametrize("outcome", [Completed(), Skipped("gone")])
async def test_the_next_comes_when_the_one_before_has_ended(desk: Desk, outcome: Outcome) -> None:
    subscription, ids = await ordered(desk, LANE, LANE, LANE)
    seen = []
    for _ in ids:
        await desk.release((subscription, LANE))
        [claim] = await desk.under_way()
        seen.append((await desk.get(claim.id)).event)
        await desk.finish(claim, outcome)
    assert seen == ids
    assert await desk.release((subscription, LANE)) == (0, 1)
    assert (await desk.count("turn"), await desk.lanes()) == (0, {})


@pytest.mark.parametrize("outcome", [Failed(BOOM, 30.0), Failed(BOOM, 0), Snoozed(30.0)])
async def test_a_retry_is_not_overtaken(desk: Desk, outcome: Outcome) -> None:
    subscription, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk.deliver(outcome)
    assert await desk.lanes() == {(subscription, LANE): False}
    assert await desk.release((subscription, LANE)) == (0, 0)
    desk.wait(31)
    await desk.promote()
    await desk.deliver()
    assert await desk.lanes() == {(subscription, LANE): True}
    assert await desk.advance() == 1
    assert await states(desk, ids) == ["completed", "ready"]


async def test_lanes_do_not_wait_for_each_other(desk: Desk) -> None:
    subscription, ids = await ordered(desk, LANE, OTHER, OTHER)
    await desk.advance()
    held, other = sorted(
        await desk.under_way(), key=lambda claim: claim.envelope is not None and str(OTHER) in claim.envelope
    )
    await desk.finish(other, Completed())
    assert await desk.lanes() == {(subscription, OTHER): True, (subscription, LANE): False}
    assert await desk.advance() == 1
    assert await states(desk, ids) == ["running", "completed", "ready"]
    await desk.finish(held, Completed())


async def test_a_dead_head_blocks_until_a_person_has_dealt_with_it(desk: Desk) -> None:
    _, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk.deliver(GaveUp("no", BOOM))
    assert (await desk.advance(), await states(desk, ids)) == (0, ["dead", "waiting"])
    await desk(jobs.retry, await desk.delivery(ids[0]), token=new_token())
    assert (await desk.advance(), await states(desk, ids)) == (0, ["ready", "waiting"])
    await desk.deliver()
    assert (await desk.advance(), await states(desk, ids)) == (1, ["completed", "ready"])


async def test_a_dead_head_is_passed_where_the_subscription_says_so(desk: Desk) -> None:
    _, ids = await ordered(desk, LANE, LANE, on_dead="pass")
    await desk.advance()
    await desk.deliver(GaveUp("no", BOOM))
    assert (await desk.advance(), await states(desk, ids)) == (1, ["dead", "ready"])


@pytest.mark.parametrize("purge", [False, True])
async def test_a_dead_head_that_was_deleted_lets_the_next_in(desk: Desk, purge: bool) -> None:
    _, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk.deliver(GaveUp("no", BOOM))
    await desk(jobs.delete, await desk.delivery(ids[0]), purge=purge)
    assert (await desk.advance(), await states(desk, ids)) == (1, ["dead", "ready"])


@pytest.mark.parametrize("purge", [False, True])
async def test_a_head_that_was_deleted_before_it_ran_lets_the_next_in(desk: Desk, purge: bool) -> None:
    _, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk(jobs.delete, await desk.delivery(ids[0]), purge=purge)
    assert (await desk.advance(), await states(desk, ids)) == (1, ["cancelled", "ready"])


async def test_a_head_that_was_cancelled_lets_the_next_in(desk: Desk) -> None:
    _, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk(jobs.cancel, await desk.delivery(ids[0]), reason="no", by="ops")
    assert (await desk.advance(), await states(desk, ids)) == (1, ["cancelled", "ready"])


@pytest.mark.parametrize("outcome", [Completed(), GaveUp("no", BOOM)])
async def test_a_head_that_was_pruned_lets_the_next_in(desk: Desk, outcome: Outcome) -> None:
    _, ids = await ordered(desk, LANE, LANE)
    await desk.advance()
    await desk.deliver(outcome)
    await desk.forget()
    assert await desk.count("job") == 0
    assert (await desk.advance(), (await states(desk, ids))[1]) == (1, "ready")


async def test_what_comes_behind_the_last_waits_for_it(desk: Desk) -> None:
    subscription, _ = await ordered(desk, LANE)
    await desk.advance()
    late = await desk.publish(lane=LANE)
    await desk.dispatch()
    assert await desk.release((subscription, LANE)) == (0, 0)
    await desk.deliver()
    assert await desk.release((subscription, LANE)) == (1, 1)
    assert await states(desk, [late]) == ["ready"]


async def test_an_event_without_a_key_is_delivered_at_once(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id")
    id = await desk.publish()
    assert (await desk.dispatch()).jobs == 1
    assert await states(desk, [id]) == ["ready"]


async def test_subscriptions_of_one_event_go_at_their_own_pace(desk: Desk) -> None:
    slow = await desk.subscribe("catalog.unlock", ordered_by="invoice_id")
    fast = await desk.subscribe("mail.thank", ordered_by="invoice_id", line=1 << 15)
    await desk.subscribe("stock.count", line=2 << 15)
    ids = await desk.publish_many([an_event(lane=LANE) for _ in range(2)])
    done = await desk.dispatch()
    assert (done.jobs, set(done.lanes)) == (2, {(slow, LANE), (fast, LANE)})
    await desk.advance()
    [claim] = await desk.claim(await desk.register(), line=(1 << 15) | 1)
    await desk.finish(claim, Completed())
    assert await desk.advance() == 1
    assert await desk.deliveries(ids[0]) == {
        "catalog.unlock": "ready",
        "mail.thank": "completed",
        "stock.count": "ready",
    }
    assert await desk.deliveries(ids[1]) == {"catalog.unlock": "waiting", "mail.thank": "ready", "stock.count": "ready"}


async def test_a_delivery_has_what_its_subscription_says_when_it_is_released(desk: Desk) -> None:
    _, [id] = await ordered(desk, LANE)
    await desk.subscribe(ordered_by="invoice_id", attempts=9, expires=60.0)
    desk.wait(5)
    await desk.advance()
    record = await desk.get(await desk.delivery(id))
    assert (record.attempts, (await desk.event(id)).dispatched_at) != (3, record.created_at)
    assert record.expires_at is not None
    assert (record.expires_at - record.created_at).total_seconds() == 60


async def test_lanes_are_paged(desk: Desk) -> None:
    subscription, _ = await ordered(desk, *range(-5, 5))
    after, found = ("00000000-0000-0000-0000-000000000000", -(2**63)), []
    while page := await desk(outbox.lanes, after=after, limit=3):
        found += page
        after = page[-1][0]
    assert found == [((subscription, lane), True) for lane in range(-5, 5)]


async def test_lanes_that_nobody_knows_are_let_be(desk: Desk) -> None:
    subscription, _ = await ordered(desk, LANE)
    assert await desk.release((new_id(), LANE), (subscription, LANE + 1)) == (0, 0)
    assert await desk.release() == (0, 0)


async def test_retired_it_ends_what_is_under_way_and_begins_nothing(desk: Desk) -> None:
    subscription, ids = await ordered(desk, LANE, LANE, LANE)
    await desk.advance()
    assert await desk(outbox.retire, "catalog.unlock", atomic=True) == (subscription, 2)
    await desk.deliver()
    assert await desk.advance() == 0
    assert await states(desk, ids) == ["completed", None, None]
    assert await desk.count("turn") == 0
    assert await desk(outbox.retire, "catalog.unlock", atomic=True) == (subscription, 0)
    assert await desk(outbox.retire, "catalog.nobody", atomic=True) is None


# --- order in the outbox itself


async def test_what_stands_behind_a_failed_event_of_its_lane_waits(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id")
    first, second, other = await desk.publish_many([an_event(lane=lane) for lane in (LANE, LANE, OTHER)])
    await desk.fail(first, delay=5.0)
    assert (await desk.dispatch()).events == 1, "only the one of the other lane"
    desk.wait(5)
    assert (await desk.dispatch()).events == 1, "it is tried alone"
    assert await states(desk, [first, second, other]) == ["waiting", None, "waiting"]
    assert (await desk.dispatch()).events == 1
    await desk.advance()
    assert await states(desk, [first, second]) == ["ready", "waiting"]


async def test_a_dead_event_blocks_its_lane_where_a_subscription_wants_that(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id", on_dead="block")
    first, second = await desk.publish_many([an_event(lane=LANE) for _ in range(2)])
    await desk.fail(first, most=1)
    desk.wait(1000)
    assert (await desk.dispatch()).seen == 0
    await desk(outbox.retry_event, first, atomic=True)
    assert (await desk.dispatch()).events == 2
    await desk.advance()
    assert await states(desk, [first, second]) == ["ready", "waiting"]


@pytest.mark.parametrize("how", ["pass", "unordered", "of another event", "retired"])
async def test_a_dead_event_is_passed_where_no_subscription_is_in_the_way(desk: Desk, how: str) -> None:
    changes = {
        "pass": {"ordered_by": "invoice_id", "on_dead": "pass"},
        "unordered": {},
        "of another event": {"ordered_by": "invoice_id", "events": '["billing.refunded"]'},
        "retired": {"ordered_by": "invoice_id"},
    }
    await desk.subscribe(**changes[how])
    if how == "retired":
        await desk(outbox.retire, "catalog.unlock", atomic=True)
    first, second = await desk.publish_many([an_event(lane=LANE) for _ in range(2)])
    await desk.fail(first, most=1)
    assert (await desk.dispatch()).events == 1
    assert (await desk.event(second)).state is EventState.DISPATCHED


async def test_a_lane_that_is_blocked_is_in_no_other_events_way(desk: Desk) -> None:
    """However many wait there: a batch is filled with what can go."""
    await desk.subscribe(ordered_by="invoice_id")
    first, *_ = await desk.publish_many([an_event(lane=LANE) for _ in range(20)])
    await desk.fail(first, most=1)
    later = await desk.publish()
    assert await desk(outbox.pending, limit=5) == [(later, 0.0)]
    assert (await desk.dispatch(limit=5)).events == 1
    assert (await desk.event(later)).state is EventState.DISPATCHED


async def test_a_dead_event_that_is_retried_is_not_stopped_by_those_that_waited_for_it(desk: Desk) -> None:
    """However many they are, it is in the first batch."""
    await desk.subscribe(ordered_by="invoice_id")
    first, *others = await desk.publish_many([an_event(lane=LANE) for _ in range(20)])
    await desk.fail(first, most=1)
    desk.wait(100)
    await desk(outbox.retry_event, first, atomic=True)
    assert (await desk.dispatch(limit=5)).events == 5
    assert await states(desk, [first, *others][:6]) == ["waiting"] * 5 + [None]


async def test_a_failed_event_that_is_due_again_is_not_stopped_by_those_that_waited_for_it(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id")
    first, *_ = await desk.publish_many([an_event(lane=LANE) for _ in range(20)])
    await desk.fail(first, delay=5.0)
    desk.wait(5)
    assert [(await desk.dispatch(limit=5)).events for _ in range(3)] == [1, 5, 5]


async def test_a_lane_is_dispatched_in_order_though_the_batch_is_small(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    ids = await desk.publish_many([an_event(lane=LANE) for _ in range(7)])
    await desk.dispatch(only=ids[3:4])
    assert await states(desk, ids) == [None] * 7, "earlier ones are not in the batch"
    for _ in range(4):
        await desk.dispatch(limit=2)
        await desk.release((subscription, LANE))
    assert await states(desk, ids) == ["ready"] + ["waiting"] * 6
