"""The relay dispatches what somebody has declared at this store, and keeps everything else for them."""

from __future__ import annotations

from remit.db.store import Capability
from remit.outbox import operations as outbox
from remit.outbox.model import OutboxRecord
from tests.conformance.desk import PAID, Desk, an_event, text

SETTLED = "billing.invoice-settled"
LANE = 77


async def recognise(desk: Desk, limit: int = 100) -> int:
    return await desk(outbox.recognise, limit=limit)


async def test_an_event_that_nobody_has_declared_waits_for_who_listens_to_it(desk: Desk) -> None:
    [id] = await desk.publish_unknown([an_event(name=SETTLED)])
    done = await desk.dispatch()
    assert (done.seen, done.events, done.jobs, done.unknown) == (1, 0, 0, 1)
    assert (await desk.dispatch()).seen == 0, "it is in nobody's way"
    event = await desk.event(id)
    assert (event.state, event.attempts, event.error) == ("unknown", 0, None)
    assert await desk(outbox.outbox) == OutboxRecord(0, None, 0, 1)
    assert await desk(outbox.unknown) == [(SETTLED, 1, 1)]
    assert await recognise(desk) == 0

    await desk.subscribe(events=text([SETTLED, PAID]))
    await desk.know((SETTLED, 1))
    assert await recognise(desk) == 1
    assert (await desk.dispatch()).jobs == 1
    assert await desk.deliveries(id) == {"catalog.unlock": "ready"}


async def test_a_version_that_nobody_has_declared_waits_too(desk: Desk) -> None:
    await desk.subscribe(where={"currency": ["EUR"]})
    [id] = await desk.publish_unknown([an_event(version=2, payload=text({"money": "EUR"}))])
    assert (await desk.dispatch()).unknown == 1
    await desk.subscribe(condition=text({"2": {"money": ['"EUR"']}, "1": {"currency": ['"EUR"']}}))
    await desk.know((PAID, 2))
    await recognise(desk)
    await desk.dispatch()
    assert await desk.deliveries(id) == {"catalog.unlock": "ready"}


async def test_each_version_has_a_condition_of_its_own(desk: Desk) -> None:
    await desk.subscribe(condition=text({"2": {"money": ['"EUR"']}, "1": {"currency": ['"EUR"']}}))
    cases = [(1, "currency", "EUR"), (1, "money", "EUR"), (2, "money", "EUR"), (2, "currency", "EUR"), (3, "x", "y")]
    rows = [an_event(version=version, payload=text({field: value})) for version, field, value in cases]
    ids = await desk.publish_many(rows)
    await desk.dispatch()
    assert [len(await desk.deliveries(id)) for id in ids] == [1, 0, 1, 0, 1]


async def test_an_event_without_subscribers_is_dispatched_once_it_is_declared(desk: Desk) -> None:
    await desk.publish_unknown([an_event(name=SETTLED)])
    await desk.dispatch()
    await desk.know((SETTLED, 1))
    await recognise(desk)
    assert ((await desk.dispatch()).events, await desk(outbox.unknown)) == (1, [])


async def test_a_subscription_to_a_former_name_hears_the_event_under_its_new_one(desk: Desk) -> None:
    """It belongs to another application, which has not been released yet."""
    subscription = await desk.subscribe(events=text([PAID]))
    [id] = await desk.publish_unknown([an_event(name=SETTLED)])
    await desk.know((SETTLED, 1), former=[PAID, "billing.paid"])
    await desk.dispatch()
    assert await desk.deliveries(id) == {"catalog.unlock": "ready"}
    filling = await desk(outbox.begin_filling, "catalog.unlock")
    assert (filling.subscription, set(filling.events)) == (subscription, {SETTLED, PAID})


async def test_a_subscription_that_names_an_event_twice_hears_it_once(desk: Desk) -> None:
    await desk.subscribe(events=text([SETTLED, PAID]))
    await desk.know((SETTLED, 1), former=[PAID])
    await desk.publish(name=SETTLED)
    assert (await desk.dispatch()).jobs == 1


async def test_the_names_that_an_event_had_are_those_of_its_last_declaration(desk: Desk) -> None:
    await desk.subscribe(events=text([PAID]))
    await desk.know((SETTLED, 1), former=[PAID])
    await desk.know((SETTLED, 1))
    await desk.publish_unknown([an_event(name=SETTLED)])
    assert (await desk.dispatch()).jobs == 0


async def test_a_lane_waits_behind_an_unknown_event_and_the_others_do_not(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id", events=text([SETTLED, PAID]))
    first, unknown, last, elsewhere = await desk.publish_unknown(
        [an_event(lane=LANE), an_event(name=SETTLED, lane=LANE), an_event(lane=LANE), an_event(lane=LANE + 1)]
    )
    done = await desk.dispatch()
    assert (done.seen, done.events, done.unknown) == (4, 2, 1)
    assert [(await desk.event(id)).state for id in (first, unknown, last, elsewhere)] == [
        "dispatched", "unknown", "pending", "dispatched",
    ]  # fmt: skip
    assert (await desk.dispatch()).seen == 0
    await desk.know((SETTLED, 1))
    await recognise(desk)
    assert (await desk.dispatch()).events == 2
    rows = await desk.execute("SELECT event FROM {turn} WHERE lane = ? ORDER BY seq", [LANE])
    assert [str(event) for (event,) in rows] == [first, unknown, last]


async def test_a_person_cannot_force_what_nobody_has_declared(desk: Desk) -> None:
    [id] = await desk.publish_unknown([an_event(name=SETTLED)])
    await desk.dispatch()
    assert await desk(outbox.retry_event, id, atomic=True) == "unknown"
    assert (await desk.event(id)).state == "unknown"


async def test_what_is_recognised_comes_in_batches(desk: Desk) -> None:
    await desk.publish_unknown([an_event(name=SETTLED) for _ in range(5)])
    await desk.dispatch()
    await desk.know((SETTLED, 1))
    assert [await recognise(desk, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_relay_that_did_not_see_a_declaration_looks_again_after_its_commit(desk: Desk) -> None:
    if not desk.can(Capability.SEVERAL_WRITERS):
        return
    [id] = await desk.publish_unknown([an_event(name=SETTLED)])
    relay = desk.another()
    async with desk.session() as (tx, _):
        declared = [{"name": SETTLED, "version": 1, "former": []}]
        await outbox.declare(tx, [], declared, force=False)
        assert (await relay.dispatch()).unknown == 1
        assert await recognise(relay) == 0, "the declaration is not committed"
    assert await recognise(desk) == 1, "and looks after its commit, too"
    assert (await desk.event(id)).state == "pending"
