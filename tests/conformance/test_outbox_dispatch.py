"""The relay's statement: what it makes of an event, for whom, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from remit.jobs.ids import new_id
from remit.jobs.states import GaveUp, State
from remit.outbox import operations as outbox
from remit.outbox.model import EventState
from tests.conformance.desk import BOOM, DELIVERIES, PAID, Desk, an_event, text

NAMES = ["catalog.unlock", "mail.thank", "stock.count"]


async def test_every_subscription_gets_a_job_of_its_own(desk: Desk) -> None:
    for name in NAMES:
        await desk.subscribe(name)
    id = await desk.publish()
    done = await desk.dispatch()
    assert (done.seen, done.events, done.jobs, done.lanes) == (1, 1, 3, ())
    assert await desk.deliveries(id) == dict.fromkeys(NAMES, "ready")
    event = await desk.event(id)
    assert (event.state, event.deliveries) == (EventState.DISPATCHED, 3)
    assert event.dispatched_at == event.published_at
    assert await desk.count("job") == 3


async def test_an_event_that_nobody_wants_is_kept(desk: Desk) -> None:
    await desk.subscribe(events=text(["billing.refunded"]))
    id = await desk.publish()
    assert (await desk.dispatch()).events == 1
    event = await desk.event(id)
    assert (event.state, event.deliveries, event.records) == (EventState.DISPATCHED, 0, ())


async def test_dispatched_once_is_dispatched(desk: Desk) -> None:
    await desk.subscribe()
    await desk.publish()
    await desk.dispatch()
    done = await desk.dispatch()
    assert (done.seen, done.events, done.jobs) == (0, 0, 0)
    assert await desk.count("job") == 1


async def test_who_subscribes_later_gets_what_comes_later(desk: Desk) -> None:
    before = await desk.publish()
    await desk.dispatch()
    await desk.subscribe()
    after = await desk.publish()
    await desk.dispatch()
    assert (await desk.deliveries(before), await desk.deliveries(after)) == ({}, {"catalog.unlock": "ready"})


async def test_a_job_is_as_its_subscription_says(desk: Desk) -> None:
    await desk.subscribe(expires=90.0, priority=-5, attempts=7, keep=12.5, queue="catalog.slow", line=DELIVERIES)
    correlation = new_id()
    id = await desk.publish(version=3, correlation=correlation, traceparent="00-1", scope='{"tenant":"t"}')
    await desk.dispatch()
    record, row = await desk.get(await desk.delivery(id)), await desk.row(await desk.delivery(id))
    assert (record.name, record.domain, record.queue) == ("catalog.unlock", "catalog", "catalog.slow")
    assert (record.priority, record.attempts, record.version) == (-5, 7, 3)
    assert record.expires_at == record.created_at + timedelta(seconds=90)
    assert row is not None
    assert (row["line"], row["keep"], row["payload"]) == (DELIVERIES | 3, 12.5, None)
    assert (row["traceparent"], row["scope"]) == ("00-1", '{"tenant":"t"}')
    assert [str(row[name]) for name in ("event_id", "correlation", "causation")] == [id, correlation, id]


async def test_an_event_without_a_correlation_begins_one(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    await desk.dispatch()
    row = await desk.row(await desk.delivery(id))
    assert row is not None
    assert str(row["correlation"]) == id


async def test_a_claim_brings_the_payload_and_the_envelope_of_the_event(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish(payload='{"invoice_id":"☃"}')
    await desk.dispatch()
    [claim] = await desk.under_way()
    assert claim.payload == '{"invoice_id":"☃"}'
    assert claim.envelope is not None
    assert f'"{id}"' in claim.envelope
    assert f'"{PAID}"' in claim.envelope


async def test_a_version_that_no_worker_knows_waits(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish(version=2)
    await desk.dispatch()
    assert await desk.under_way() == []
    assert await desk.deliveries(id) == {"catalog.unlock": "ready"}
    assert len(await desk.claim(await desk.register(), line=DELIVERIES | 2)) == 1


async def test_an_event_by_its_former_name_reaches_who_knows_it(desk: Desk) -> None:
    await desk.subscribe(events=text([PAID, "billing.payment-came"]))
    new, old, other = [await desk.publish(name=name) for name in (PAID, "billing.payment-came", "billing.paid")]
    await desk.dispatch()
    assert [len(await desk.deliveries(id)) for id in (new, old, other)] == [1, 1, 0]


async def test_a_retired_subscription_gets_nothing(desk: Desk) -> None:
    await desk.subscribe()
    await desk(outbox.retire, "catalog.unlock")
    id = await desk.publish()
    await desk.dispatch()
    assert (await desk.event(id)).deliveries == 0


async def test_an_expired_delivery_ends_cancelled(desk: Desk) -> None:
    await desk.subscribe(expires=5.0)
    id = await desk.publish()
    await desk.dispatch()
    desk.wait(6)
    assert await desk.under_way() == []
    assert await desk.deliveries(id) == {"catalog.unlock": "cancelled"}


async def test_one_that_fails_does_not_touch_the_others(desk: Desk) -> None:
    await desk.subscribe("catalog.unlock", line=DELIVERIES)
    await desk.subscribe("mail.thank", line=DELIVERIES + (1 << 15))
    id = await desk.publish()
    await desk.dispatch()
    await desk.deliver(GaveUp("no", BOOM))
    assert await desk.deliveries(id) == {"catalog.unlock": "dead", "mail.thank": "ready"}


# --- batches


async def test_a_batch_takes_what_came_first(desk: Desk) -> None:
    await desk.subscribe()
    ids = await desk.publish_many([an_event() for _ in range(5)])
    assert (await desk.dispatch(limit=2)).events == 2
    states = [(await desk.event(id)).state for id in ids]
    assert states == [EventState.DISPATCHED] * 2 + [EventState.PENDING] * 3


async def test_some_may_be_taken_by_id(desk: Desk) -> None:
    await desk.subscribe()
    ids = await desk.publish_many([an_event() for _ in range(4)])
    assert (await desk.dispatch(only=[ids[1], ids[3], new_id()])).events == 2
    assert (await desk.dispatch(only=[])).seen == 0
    assert [(await desk.event(id)).state == "dispatched" for id in ids] == [False, True, False, True]


async def test_hundreds_of_events_and_several_subscriptions_in_one_statement(desk: Desk) -> None:
    for name in NAMES:
        await desk.subscribe(name)
    await desk.publish_many([an_event() for _ in range(600)])
    done = await desk.dispatch(limit=1000)
    assert (done.events, done.jobs) == (600, 1800)
    assert await desk.count("job") == 1800


async def test_what_is_pending_is_told_in_the_relays_order_with_the_seconds_until_it_is_due(desk: Desk) -> None:
    first, second, third = await desk.publish_many([an_event() for _ in range(3)])
    await desk.fail(first, delay=30.0)
    desk.wait(10)
    assert await desk(outbox.pending, limit=2) == [(second, -10.0), (third, -10.0)]
    assert await desk(outbox.pending, limit=9) == [(second, -10.0), (third, -10.0), (first, 20.0)]


# --- what cannot be dispatched


async def test_a_failure_is_counted_and_tried_again_later(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    assert await desk.fail(id, delay=5.0) == (EventState.PENDING, 1, PAID)
    assert (await desk.dispatch()).seen == 0
    event = await desk.event(id)
    assert (event.attempts, event.error) == (1, "it cannot be read")
    desk.wait(5)
    assert (await desk.dispatch()).events == 1
    event = await desk.event(id)
    assert (event.state, event.attempts, event.error) == (EventState.DISPATCHED, 1, None)


async def test_after_so_many_failures_an_event_is_dead_and_in_nobodys_way(desk: Desk) -> None:
    await desk.subscribe()
    dead, other = await desk.publish(), await desk.publish()
    assert [(await desk.fail(dead, most=2))[0] for _ in range(2)] == ["pending", "dead"]
    assert await desk.fail(dead) is None, "it is not the relay's any more"
    desk.wait(1000)
    assert (await desk.dispatch()).events == 1
    assert [(await desk.event(id)).state for id in (dead, other)] == ["dead", "dispatched"]


async def test_a_failure_of_what_another_relay_dispatched_is_not_noted(desk: Desk) -> None:
    id = await desk.publish()
    await desk.dispatch()
    assert await desk.fail(id) is None
    assert (await desk.event(id)).attempts == 0


async def test_a_dead_event_goes_to_the_relay_again_by_hand(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    await desk.fail(id, most=1)
    assert await desk(outbox.retry_event, id, atomic=True) is EventState.DEAD
    assert (await desk.event(id)).attempts == 0
    assert (await desk.dispatch()).jobs == 1
    assert await desk(outbox.retry_event, id, atomic=True) is EventState.DISPATCHED
    assert (await desk.event(id)).state is EventState.DISPATCHED
    assert await desk(outbox.retry_event, new_id(), atomic=True) is None


async def test_an_event_that_waits_after_a_failure_may_be_tried_at_once(desk: Desk) -> None:
    id = await desk.publish()
    await desk.fail(id, delay=300.0)
    assert await desk(outbox.retry_event, id, atomic=True) is EventState.PENDING
    assert (await desk.dispatch()).events == 1


async def test_a_payload_that_cannot_be_read_fails_the_batch_and_alone_it_fails_alone(desk: Desk) -> None:
    await desk.subscribe(where={"kind": ["a"]})
    ids = await desk.publish_many([an_event(payload=text({"kind": "a"})) for _ in range(3)])
    bad = await desk.publish(payload="this is no JSON")
    with pytest.raises(Exception, match=r"(?i)json"):
        await desk.dispatch()
    with pytest.raises(Exception, match=r"(?i)json"):
        await desk.dispatch(only=[bad])
    assert (await desk.dispatch(only=ids)).jobs == 3


# --- conditions

VALUES: list[Any] = [
    "plain", "", '"', "\\", "\\u0000", "it's", "ünïcödé ☃ 🜚", "a\u0000b", "\u0000", "\ufffd", "\u2028", "%s :n ? $1 {}",
    "null", "1", 0, 1, -1, 2**53, True, False, None, "2027-01-15T08:00:00Z", "2027-01-15",
]  # fmt: skip


@pytest.mark.parametrize("wanted", VALUES, ids=lambda value: ascii(value))
async def test_a_condition_lets_one_value_through_and_no_other(desk: Desk, wanted: Any) -> None:
    await desk.subscribe(where={"kind": [wanted]})
    ids = await desk.publish_many([an_event(payload=text({"other": wanted, "kind": value})) for value in VALUES])
    await desk.dispatch()
    heard = [value for id, value in zip(ids, VALUES, strict=True) if await desk.deliveries(id)]
    assert [text(value) for value in heard] == [text(wanted)]


async def test_a_condition_may_allow_several_values_and_ask_for_several_fields(desk: Desk) -> None:
    await desk.subscribe(where={"kind": ["a", "b"], "big": [True]})
    cases = {("a", True): 1, ("b", True): 1, ("c", True): 0, ("a", False): 0}
    for (kind, big), wanted in cases.items():
        id = await desk.publish(payload=text({"kind": kind, "big": big}))
        await desk.dispatch()
        assert len(await desk.deliveries(id)) == wanted, (kind, big)


async def test_a_field_that_is_not_there_meets_no_condition(desk: Desk) -> None:
    """An older version of the event may lack it."""
    await desk.subscribe(where={"kind": [None]})
    id = await desk.publish(payload="{}")
    await desk.dispatch()
    assert await desk.deliveries(id) == {}


async def test_a_field_that_may_be_missing_meets_its_condition_when_it_is(desk: Desk) -> None:
    """Its default is one of the values: so a reader would see it."""
    await desk.subscribe(condition=text({"1": {"kind": ['"a"', ""]}}))
    cases = {"{}": 1, '{"kind":"a"}': 1, '{"kind":""}': 0, '{"kind":null}': 0, '{"kind":"b"}': 0}
    ids = await desk.publish_many([an_event(payload=payload) for payload in cases])
    await desk.dispatch()
    assert [len(await desk.deliveries(id)) for id in ids] == list(cases.values())
    found = await desk.subscription()
    assert found.conditions == {1: {"kind": ['"a"']}}
    assert (await desk.fill(found.id)).deliveries == 0


async def test_a_field_inside_another_is_not_meant(desk: Desk) -> None:
    await desk.subscribe(where={"kind": ["a"]})
    id = await desk.publish(payload='{"inner":{"kind":"a"}}')
    await desk.dispatch()
    assert await desk.deliveries(id) == {}


async def test_an_end_of_a_delivery_is_told_with_its_event(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    await desk.dispatch()
    await desk.deliver(GaveUp("refused", BOOM))
    [record] = (await desk.event(id)).records
    assert (record.state, record.failures, record.reason) == (State.DEAD, 1, "refused")
    assert record.finished_at is not None


async def test_an_event_is_new_though_the_clock_stepped_back(desk: Desk) -> None:
    await desk.subscribe()
    await desk.publish()
    desk.wait(-3600)
    later = await desk.publish()
    assert [due for _, due in await desk(outbox.pending, limit=5)] == [0.0, 0.0]
    assert (await desk.dispatch()).events == 2
    assert await desk.deliveries(later) == {"catalog.unlock": "ready"}
