"""What runs publish lands with their outcome, and a death is an event."""

from __future__ import annotations

from typing import Any

import pytest

from remit.execution import operations as execution
from remit.execution.model import Claim, Ended
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, GaveUp, Interrupted, Outcome, Skipped, Snoozed, decide
from remit.outbox.model import EventRecord
from tests.conformance.desk import BOOM, DAWN, DELIVERIES, QUEUE, SECOND, Desk, a_job, an_event, text

DIED = "remit.job-died"


async def finish(desk: Desk, claim: Claim, outcome: Outcome, *events: dict[str, Any]) -> None:
    transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
    ended = Ended(claim.id, claim.token, claim.attempt, transition, [], events=events)
    await desk(execution.finish, [ended], worker=new_id(), stamp=new_token())


async def deaths(desk: Desk) -> list[EventRecord]:
    rows = await desk.execute("SELECT id FROM {event} WHERE name = ? ORDER BY seq", [DIED])
    return [await desk.event(str(id)) for (id,) in rows]


# --- what a run publishes


async def test_what_a_run_publishes_is_there_when_its_outcome_is(desk: Desk) -> None:
    claim = await desk.running()
    events = [an_event(causation=claim.id, correlation=claim.correlation, lane=place % 2) for place in range(20)]
    await finish(desk, claim, Completed(), *events)
    found = await desk.execute("SELECT id FROM {event} ORDER BY seq")
    assert [str(id) for (id,) in found] == [event["id"] for event in events]
    record = await desk.event(events[0]["id"])
    assert (record.causation, record.correlation, record.state) == (claim.id, claim.correlation, "pending")


async def test_what_is_said_of_an_event_is_kept(desk: Desk) -> None:
    claim = await desk.running()
    event = an_event(causation=claim.id, occurred_at=DAWN - SECOND, scope='{"t":1}', traceparent="00-1", keep=5.0)
    await finish(desk, claim, Completed(), event)
    record = await desk.event(event["id"])
    assert (record.published_at - record.occurred_at).total_seconds() == 1
    assert (record.scope, record.traceparent) == ({"t": 1}, "00-1")


async def test_a_lost_lease_publishes_nothing(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk.die(worker)
    await desk.rescue()
    await finish(desk, claim, Completed(), an_event(causation=claim.id))
    assert await desk.count("event") == 0


async def test_what_lands_publishes_though_its_neighbour_does_not(desk: Desk) -> None:
    worker = await desk.register()
    lost = await desk.running(worker)
    await desk.die(worker)
    await desk.rescue()
    again = await desk.claim_one()
    assert again.id == lost.id
    landing = await desk.running()
    batch = []
    for claim in (lost, landing):
        transition = decide(Completed(), failures=0, attempts=3)
        batch.append(Ended(claim.id, claim.token, 1, transition, [], events=[an_event(causation=claim.id)]))
    landed = await desk(execution.finish, batch, worker=new_id(), stamp=new_token())
    assert [one.id for one in landed] == [landing.id]
    [(causation,)] = await desk.execute("SELECT causation FROM {event}")
    assert str(causation) == landing.id


async def test_written_again_because_nobody_knew_it_publishes_once(desk: Desk) -> None:
    claim = await desk.running()
    event = an_event(causation=claim.id)
    await finish(desk, claim, Completed(), event)
    await finish(desk, claim, Completed(), event)
    assert await desk.count("event") == 1


# --- deaths


async def test_a_death_is_an_event_that_tells_what_died(desk: Desk) -> None:
    correlation = new_id()
    claim = await desk.running(correlation=correlation, attempts=5, label="the first", payload='{"invoice_id":"i-1"}')
    await desk.finish(claim, GaveUp('no "retry" can help \\ ☃', BOOM))
    [event] = await deaths(desk)
    assert (event.domain, event.version, event.state, event.encoding) == ("remit", 1, "pending", "json")
    assert (event.causation, event.correlation) == (claim.id, correlation)
    assert event.payload == {
        "job": claim.id, "name": "billing.sync-invoice", "domain": "billing", "queue": QUEUE, "attempts": 5,
        "failures": 1, "reason": 'no "retry" can help \\ ☃', "event": None,
        "label": "the first", "payload": '{"invoice_id":"i-1"}',
    }  # fmt: skip
    assert event.published_at == event.occurred_at == (await desk.get(claim.id)).finished_at


async def test_the_last_failure_is_a_death(desk: Desk) -> None:
    claim = await desk.running(attempts=2)
    await desk.finish(claim, Failed(BOOM, 0))
    assert await deaths(desk) == []
    await desk.promote()
    again = await desk.claim_one()
    await desk.finish(again, Failed(BOOM, 0))
    [event] = await deaths(desk)
    assert event.payload["failures"] == 2
    assert "boom" in event.payload["reason"]


@pytest.mark.parametrize("outcome", [Completed(), Skipped("gone"), Snoozed(1.0), Interrupted(), Failed(BOOM, 1.0)])
async def test_nothing_else_is(desk: Desk, outcome: Outcome) -> None:
    await desk.finish(await desk.running(), outcome)
    assert await deaths(desk) == []


async def test_a_job_that_killed_its_worker_too_often_is_a_death(desk: Desk) -> None:
    id = await desk.enqueue(attempts=1)
    for _ in range(2):
        worker = await desk.register()
        claim = await desk.claim_one(worker)
        await desk(execution.start_suspect, claim.id, token=claim.token)
        await desk.die(worker)
        rescued = await desk.rescue()
        if rescued[0][1] == "dead":
            break
    [event] = await deaths(desk)
    assert (event.causation, event.payload["job"], event.payload["failures"]) == (id, id, 1)
    assert event.payload["reason"] == "killed its worker in 1 of 1 attempts" == (await desk.get(id)).reason


async def test_every_death_has_an_event_of_its_own(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(30)])
    claims = await desk.claim(worker)
    transition = decide(GaveUp("no", None), failures=0, attempts=3)
    batch = [Ended(claim.id, claim.token, 1, transition, []) for claim in claims]
    await desk(execution.finish, batch, worker=worker, stamp=new_token())
    found = await deaths(desk)
    assert {event.payload["job"] for event in found} == {claim.id for claim in claims}
    assert len({event.id for event in found}) == 30
    assert all(event.id[14] == "7" for event in found)


async def test_a_delivery_that_dies_names_its_event(desk: Desk) -> None:
    await desk.subscribe()
    id = await desk.publish()
    await desk.dispatch()
    await desk.deliver(GaveUp("no", BOOM))
    [event] = await deaths(desk)
    assert (event.payload["event"], event.payload["name"], event.correlation) == (id, "catalog.unlock", id)


@pytest.mark.parametrize("how", ["finish", "rescue"])
async def test_the_death_of_a_delivery_of_a_death_is_none(desk: Desk, how: str) -> None:
    """Or a hook that fails would run for ever."""
    await desk.subscribe(events=text([DIED]), attempts=1)
    await desk.finish(await desk.running(), GaveUp("no", BOOM))
    await desk.dispatch()
    if how == "finish":
        await desk.deliver(GaveUp("no", BOOM))
    else:
        for _ in range(2):
            worker = await desk.register()
            for claim in await desk.claim(worker, line=DELIVERIES | 1):
                await desk(execution.start_suspect, claim.id, token=claim.token)
            await desk.die(worker)
            await desk.rescue()
    [event] = await deaths(desk)
    assert await desk.deliveries(event.id) == {"catalog.unlock": "dead"}
    assert (await desk.dispatch()).seen == 0


async def test_a_hook_hears_of_a_death_once(desk: Desk) -> None:
    await desk.subscribe(events=text([DIED]))
    await desk.finish(await desk.running(), GaveUp("no", BOOM))
    await desk.dispatch()
    [claim] = await desk.under_way()
    assert claim.payload is not None
    assert '"billing.sync-invoice"' in claim.payload
