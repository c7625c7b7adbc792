"""What people are told about events: one with its deliveries, pages of many, how the relay keeps up."""

from __future__ import annotations

from typing import Any

from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.jobs.states import GaveUp
from remit.outbox import operations as outbox
from remit.outbox.model import EventPage
from tests.conformance.desk import BOOM, Desk, an_event


async def page(desk: Desk, limit: int = 50, **filters: Any) -> EventPage:
    nothing = dict.fromkeys(["state", "domain", "names", "after"])
    return await desk(outbox.list_events, **{**nothing, **filters}, limit=limit)


async def ids(desk: Desk, **filters: Any) -> list[str]:
    return [event.id for event in (await page(desk, **filters)).events]


async def test_an_unknown_event_is_nothing(desk: Desk) -> None:
    assert await desk(outbox.get_event, new_id(), atomic=True) is None


async def test_an_event_is_told_with_each_of_its_deliveries(desk: Desk) -> None:
    await desk.subscribe("a.dead", line=1 << 15)
    await desk.subscribe("b.pruned", line=2 << 15, queue="b.default")
    await desk.subscribe("c.waiting", ordered_by="invoice_id", line=3 << 15)
    await desk.subscribe("d.ready", line=4 << 15)
    await desk.subscribe("e.wants-others", where={"kind": ["x"]})
    before, id = await desk.publish_many([an_event(lane=1) for _ in range(2)])
    await desk.dispatch(only=[before])
    await desk.advance()
    await desk.dispatch()
    worker = await desk.register()
    for claim in await desk.claim(worker, line=(1 << 15) | 1):
        await desk.finish(claim, GaveUp("refused", BOOM))
    for claim in await desk.claim(worker, line=(2 << 15) | 1, queue="b.default"):
        await desk.finish(claim, GaveUp("no", None))
    desk.wait(1)
    await desk(jobs.prune, queue="b.default", age=0.0, dead=True, limit=10)
    dead, pruned, waiting, ready = (await desk.event(id)).records
    assert (dead.subscription, dead.state, dead.failures, dead.reason) == ("a.dead", "dead", 1, "refused")
    assert dead.finished_at is not None
    assert dead.job is not None
    assert (pruned.subscription, pruned.state, pruned.job, pruned.failures) == ("b.pruned", "dead", None, 0)
    assert pruned.finished_at is not None
    assert (waiting.subscription, waiting.state, waiting.job, waiting.finished_at) == (
        "c.waiting",
        "waiting",
        None,
        None,
    )
    assert (ready.subscription, ready.state, ready.reason) == ("d.ready", "ready", None)
    assert (await desk.event(id)).deliveries == 4


async def test_the_newest_come_first_page_by_page(desk: Desk) -> None:
    published = await desk.publish_many([an_event() for _ in range(5)])
    assert await ids(desk) == published[::-1]
    found, after = [], None
    for _ in range(3):
        one = await page(desk, limit=2, after=after)
        found += [event.id for event in one.events]
        after = one.after
    assert (found, after) == (published[::-1], None)


async def test_events_are_found_by_state_domain_and_name(desk: Desk) -> None:
    pending = await desk.publish(name="stock.moved", domain="stock")
    dead = await desk.publish()
    await desk.fail(dead, most=1)
    sent = await desk.publish()
    await desk.dispatch(only=[sent])
    assert await ids(desk, state="pending") == [pending]
    assert await ids(desk, state="dead") == [dead]
    assert await ids(desk, state="dispatched") == [sent]
    assert await ids(desk, domain="stock") == await ids(desk, names=["stock.moved", "x.y"]) == [pending]
    assert await ids(desk, domain="billing", state="dead") == [dead]
    assert await ids(desk, names=["billing.nothing"]) == []


async def test_a_listed_event_is_the_event_without_its_deliveries(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    await desk.dispatch()
    [listed] = (await page(desk)).events
    event = await desk.event(id)
    assert (listed.id, listed.payload, listed.deliveries, listed.records) == (id, event.payload, 1, ())
    assert listed.dispatched_at == event.dispatched_at


async def test_how_the_relay_keeps_up(desk: Desk) -> None:
    empty = await desk(outbox.outbox)
    assert (empty.pending, empty.lag, empty.dead) == (0, None, 0)
    first, second = await desk.publish(), await desk.publish()
    desk.wait(30)
    await desk.publish()
    await desk.fail(second, delay=500.0)
    found = await desk(outbox.outbox)
    assert (found.pending, found.lag, found.dead) == (3, 30.0, 0)
    await desk.fail(first, most=1)
    await desk.dispatch()
    found = await desk(outbox.outbox)
    assert (found.pending, found.lag, found.dead) == (1, 30.0, 1)
