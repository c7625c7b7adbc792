"""A back-fill feeds a subscription from the log: everything that it has not had, once, in order."""

from __future__ import annotations

from typing import Any

import pytest

from remit.jobs import operations as jobs
from remit.jobs.states import Completed, GaveUp, Outcome, Skipped
from remit.outbox import operations as outbox
from remit.outbox.model import Filled, Span
from tests.conformance.desk import BOOM, DAWN, PAID, SECOND, Desk, a_subscription, an_event, text

LANE = 77


async def the_log(desk: Desk, count: int = 3, **changes: Any) -> list[str]:
    """Events that were dispatched when nobody listened."""
    ids = await desk.publish_many([an_event(**changes) for _ in range(count)])
    await desk.dispatch()
    return ids


async def states(desk: Desk, ids: list[str]) -> list[str | None]:
    return [(await desk.deliveries(id)).get("catalog.unlock") for id in ids]


async def test_a_new_subscription_gets_what_it_has_missed(desk: Desk) -> None:
    ids = await the_log(desk)
    subscription = await desk.subscribe()
    done = await desk.fill(subscription)
    assert (done.events, done.deliveries) == (3, 3)
    assert await states(desk, ids) == ["ready"] * 3
    [claim, *_] = await desk.under_way()
    assert claim.payload == '{"invoice_id":"i-1"}'


async def test_what_was_not_dispatched_yet_is_filled_and_not_delivered_again(desk: Desk) -> None:
    subscription = await desk.subscribe()
    id = await desk.publish()
    assert (await desk.fill(subscription)).deliveries == 1
    assert (await desk.event(id)).state == "pending"
    assert (await desk.dispatch()).events == 1
    assert await desk.count("job") == 1


async def test_a_second_fill_finds_nothing_to_do(desk: Desk) -> None:
    await the_log(desk)
    subscription = await desk.subscribe()
    await desk.fill(subscription)
    assert (await desk.fill(subscription)).deliveries == 0
    await desk.deliver()
    assert (await desk.fill(subscription)).deliveries == 0
    assert await desk.count("job") == 3


@pytest.mark.parametrize("outcome", [Completed(), Skipped("gone")])
async def test_what_was_delivered_and_pruned_is_not_delivered_again(desk: Desk, outcome: Outcome) -> None:
    subscription = await desk.subscribe()
    [id] = await the_log(desk, 1)
    await desk.deliver(outcome)
    await desk.forget()
    assert await desk.count("job") == 0
    assert (await desk.fill(subscription)).deliveries == 0
    assert await states(desk, [id]) == [str(type(outcome).__name__).lower()]


async def test_what_died_and_was_pruned_is_delivered_again(desk: Desk) -> None:
    subscription = await desk.subscribe()
    [id] = await the_log(desk, 1)
    await desk.deliver(GaveUp("no", BOOM))
    assert (await desk.fill(subscription)).deliveries == 0, "a dead letter waits for a person"
    await desk.forget()
    assert await states(desk, [id]) == ["dead"]
    assert (await desk.fill(subscription)).deliveries == 1
    assert await states(desk, [id]) == ["ready"]
    await desk.deliver()
    await desk.forget()
    assert await states(desk, [id]) == ["completed"]


async def test_what_was_cancelled_and_pruned_is_delivered_again(desk: Desk) -> None:
    subscription = await desk.subscribe()
    [id] = await the_log(desk, 1)
    await desk(jobs.delete, await desk.delivery(id), purge=True)
    assert await states(desk, [id]) == ["cancelled"]
    assert (await desk.fill(subscription)).deliveries == 1


async def test_filled_delivered_and_pruned_before_the_relay_came_it_is_not_delivered_again(desk: Desk) -> None:
    subscription = await desk.subscribe()
    await desk.publish()
    await desk.fill(subscription)
    await desk.deliver()
    await desk.forget()
    done = await desk.dispatch()
    assert (done.events, done.jobs) == (1, 0)
    assert await desk.count("job") == 0


async def test_only_what_it_listens_to_and_wants(desk: Desk) -> None:
    wanted = await the_log(desk, 1, payload=text({"kind": "a"}))
    await the_log(desk, 1, payload=text({"kind": "b"}))
    await the_log(desk, 1, name="billing.refunded", payload=text({"kind": "a"}))
    subscription = await desk.subscribe(where={"kind": ["a"]})
    done = await desk.fill(subscription)
    assert (done.events, done.deliveries) == (2, 1)
    assert await states(desk, wanted) == ["ready"]


async def test_former_names_of_the_event_are_filled_in_one_order(desk: Desk) -> None:
    ids = [(await the_log(desk, 1, name=name))[0] for name in ("b.old", PAID, "b.old", PAID, "b.old")]
    subscription = await desk.subscribe(events=text([PAID, "b.old"]))
    assert await desk(outbox.count_log, [PAID, "b.old"], since=None, until=None) == 5
    after, seen = -1, []
    while (done := await desk.fill(subscription, [PAID, "b.old"], after=after, limit=2)).events:
        after = done.after
        seen.append(await states(desk, ids))
    assert [sum(state is not None for state in row) for row in seen] == [2, 4, 5]
    assert seen[0] == ["ready", "ready", None, None, None]


async def test_a_span_of_time_may_be_filled(desk: Desk) -> None:
    ids = []
    for _ in range(4):
        ids += await the_log(desk, 1)
        desk.wait(10)
    subscription = await desk.subscribe()
    span = {"since": DAWN + 10 * SECOND, "until": DAWN + 30 * SECOND}
    assert await desk(outbox.count_log, [PAID], **span) == 2
    done = await desk.fill(subscription, **span)
    assert (done.events, done.deliveries) == (2, 2)
    assert await states(desk, ids) == [None, "ready", "ready", None]


async def test_a_page_tells_where_the_next_begins(desk: Desk) -> None:
    ids = await the_log(desk, 5)
    subscription = await desk.subscribe()
    pages, after = [], -1
    for _ in range(4):
        done = await desk.fill(subscription, after=after, limit=2)
        pages.append((done.events, done.deliveries))
        after = done.after
    assert pages == [(2, 2), (2, 2), (1, 1), (0, 0)]
    assert await desk.fill(subscription, after=after) == Filled(0, after, 0)
    assert await states(desk, ids) == ["ready"] * 5


async def test_an_old_job_of_a_filled_event_has_the_version_of_the_event(desk: Desk) -> None:
    [id] = await the_log(desk, 1, version=3)
    await desk.fill(await desk.subscribe(expires=60.0, priority=2))
    record = await desk.get(await desk.delivery(id))
    assert (record.version, record.priority, record.event) == (3, 2, id)
    assert record.expires_at is not None


# --- ordered


async def test_while_it_is_filled_an_ordered_subscription_holds_what_is_live_and_then_has_all_in_order(
    desk: Desk,
) -> None:
    old = await the_log(desk, 3, lane=LANE)
    subscription = await desk.subscribe(ordered_by="invoice_id")
    filling = await desk(outbox.begin_filling, "catalog.unlock")
    assert (filling.subscription, filling.events) == (subscription, (PAID,))
    assert (await desk.subscription()).filling_since is not None
    live = await the_log(desk, 1, lane=LANE)
    other = await the_log(desk, 1, lane=LANE + 1)
    assert set((await desk.lanes()).values()) == {False}
    assert await desk.release((subscription, LANE), (subscription, LANE + 1)) == (0, 0)
    assert (await desk.fill(subscription, limit=2)).deliveries == 2
    assert await desk.release((subscription, LANE)) == (0, 0)
    late = await desk.publish(lane=LANE)
    assert (await desk.fill(subscription, limit=9)).deliveries == 1, "the relay brings what it has not dispatched yet"
    await desk.dispatch()
    await desk(outbox.end_filling, filling)
    seen = []
    while await desk.advance():
        for claim in await desk.under_way():
            seen.append((await desk.get(claim.id)).event)
            await desk.finish(claim, Completed())
    assert [id for id in seen if id not in other] == [*old, *live, late]
    assert len(seen) == 6


async def test_what_the_relay_has_not_dispatched_yet_keeps_its_place_in_an_ordered_subscription(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    first = await desk.publish(lane=LANE)
    desk.wait(1)
    second = await desk.publish(lane=LANE)
    assert (await desk.fill(subscription, since=desk.now)).deliveries == 0
    await desk.dispatch()
    assert await desk.advance() == 1
    assert await states(desk, [first, second]) == ["ready", "waiting"]


async def test_an_event_that_nobody_has_declared_is_left_to_the_relay(desk: Desk) -> None:
    subscription = await desk.subscribe()
    await desk.publish_unknown([an_event(version=2)])
    await desk.dispatch()
    assert (await desk.fill(subscription)).deliveries == 0


async def test_a_turn_that_waits_is_not_filled_twice(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    await the_log(desk, 3, lane=LANE)
    await desk.advance()
    assert (await desk.fill(subscription)).deliveries == 0
    assert await desk.count("turn") == 3


async def test_what_is_left_of_an_old_delivery_does_not_let_the_next_in(desk: Desk) -> None:
    """The first died and was pruned; filled again, it is waited for."""
    subscription = await desk.subscribe(ordered_by="invoice_id")
    first, second = await the_log(desk, 2, lane=LANE)
    for _ in range(2):
        await desk.advance()
        await desk.deliver(GaveUp("no", BOOM))
        await desk.forget()
    await desk.advance()
    assert await states(desk, [first, second]) == ["dead", "dead"]
    assert (await desk.fill(subscription)).deliveries == 2
    assert await desk.advance() == 1
    assert (await desk.release((subscription, LANE)), await states(desk, [first, second])) == (
        (0, 0),
        ["ready", "waiting"],
    )
    await desk.deliver()
    assert await desk.advance() == 1
    assert await states(desk, [first, second]) == ["completed", "ready"]


async def test_a_head_that_was_pruned_and_not_moved_on_yet_is_not_filled_again(desk: Desk) -> None:
    """The lane still needs to know that it has ended."""
    subscription = await desk.subscribe(ordered_by="invoice_id")
    first, second = await the_log(desk, 2, lane=LANE)
    await desk.advance()
    await desk.deliver(GaveUp("no", BOOM))
    await desk.forget()
    assert (await desk.fill(subscription)).deliveries == 0
    assert await desk.advance() == 1
    assert await states(desk, [first, second]) == ["dead", "ready"]


async def test_a_retired_subscription_is_not_filled(desk: Desk) -> None:
    await desk.subscribe()
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    assert await desk(outbox.begin_filling, "catalog.unlock") is None
    assert await desk(outbox.begin_filling, "catalog.nobody") is None


async def test_turns_that_a_retirement_took_can_be_filled_when_it_is_brought_back(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    ids = await the_log(desk, 2, lane=LANE)
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    await desk.declare(a_subscription(ordered_by="invoice_id"), force=True)
    assert (await desk.fill(subscription)).deliveries == 2
    await desk.advance()
    assert await states(desk, ids) == ["ready", "waiting"]


async def test_of_two_fills_of_one_subscription_the_last_to_begin_lets_go_what_was_held(desk: Desk) -> None:
    subscription = await desk.subscribe(ordered_by="invoice_id")
    first = await desk(outbox.begin_filling, "catalog.unlock")
    desk.wait(1)
    second = await desk(outbox.begin_filling, "catalog.unlock")
    await desk.publish(lane=7)
    await desk.dispatch()
    await desk(outbox.end_filling, first)
    assert await desk.release((subscription, 7)) == (0, 0), "the other one goes on"
    await desk(outbox.end_filling, second)
    assert await desk.release((subscription, 7)) == (1, 0)


# --- how far it has come


async def test_a_back_fill_notes_how_far_it_has_come(desk: Desk) -> None:
    subscription = await desk.subscribe()
    await the_log(desk, 5)
    filling = await desk(outbox.begin_filling, "catalog.unlock", since=DAWN, rate=2.5)
    assert filling is not None
    assert (filling.span, filling.name) == (Span(DAWN, None, 2.5), "catalog.unlock")
    done, later, is_noted = await desk(outbox.fill_and_note, filling, after=-1, limit=2, atomic=True)
    assert (done.events, later.after, later.span.beats, is_noted) == (2, done.after, 1, True)
    assert await desk(outbox.fillings) == [later]
    assert await desk(outbox.note_filling, later.at(9))
    [found] = await desk(outbox.fillings)
    assert (found.subscription, found.after, found.span.beats) == (subscription, 9, 2)
    await desk(outbox.end_filling, filling)
    assert (await desk(outbox.fillings), await desk(outbox.note_filling, later)) == ([], False)


async def test_a_back_fill_that_another_has_replaced_notes_nothing(desk: Desk) -> None:
    await desk.subscribe()
    first = await desk(outbox.begin_filling, "catalog.unlock")
    desk.wait(1)
    second = await desk(outbox.begin_filling, "catalog.unlock")
    assert first is not None
    assert not await desk(outbox.note_filling, first.at(7))
    assert await desk(outbox.fillings) == [second]


async def test_the_event_that_a_back_fill_looks_at_next_is_known_by_name(desk: Desk) -> None:
    await desk.subscribe(events=text([PAID, "b.old"]))
    first = await desk.publish(name="b.old")
    desk.wait(1)
    second = await desk.publish()
    filling = await desk(outbox.begin_filling, "catalog.unlock", until=desk.now)
    assert filling is not None
    found = await desk(outbox.next_to_fill, filling, after=-1)
    assert found is not None
    assert found[:2] == (first, "b.old")
    assert await desk(outbox.next_to_fill, filling, after=found[2]) is None
    everything = await desk(outbox.begin_filling, "catalog.unlock")
    assert everything is not None
    assert (await desk(outbox.next_to_fill, everything, after=found[2]) or ())[:2] == (second, PAID)
