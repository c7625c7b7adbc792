"""Scheduled jobs become ready when they are due, not before."""

import pytest

from remit.jobs import operations as jobs
from remit.jobs.model import moment
from remit.jobs.states import Failed, Snoozed, State
from tests.conformance.desk import BOOM, SECOND, Desk, a_job


async def test_a_due_job_becomes_ready_at_a_new_place(desk: Desk) -> None:
    id = await desk.enqueue(delay=10)
    desk.wait(15)
    waiting = await desk.enqueue()
    assert await desk(jobs.promote, limit=10) == (1, None)
    job = await desk.get(id)
    assert (job.state, job.run_at) == (State.READY, moment(desk.now))
    assert {claim.id for claim in await desk.claim(await desk.register())} == {id, waiting}


async def test_nothing_is_promoted_before_its_time(desk: Desk) -> None:
    id = await desk.enqueue(delay=10)
    desk.wait(9.999999)
    promoted, due = await desk(jobs.promote, limit=10)
    assert (promoted, due) == (0, pytest.approx(0.000001))
    desk.wait(0.000001)
    assert await desk.promote() == 1
    assert await desk.state(id) is State.READY


async def test_it_says_when_the_next_is_due(desk: Desk) -> None:
    await desk.enqueue_many([a_job(delay=delay) for delay in (1, 60, 30)])
    desk.wait(1)
    assert await desk(jobs.promote, limit=10) == (1, pytest.approx(29))
    desk.wait(60)
    assert await desk(jobs.promote, limit=10) == (2, None)


async def test_the_earliest_come_first_and_no_more_than_the_limit(desk: Desk) -> None:
    ids = await desk.enqueue_many([a_job(delay=delay) for delay in (30, 10, 20)])
    desk.wait(60)
    assert (await desk(jobs.promote, limit=2))[0] == 2
    assert [await desk.state(id) for id in ids] == [State.SCHEDULED, State.READY, State.READY]
    assert await desk.promote(limit=2) == 1


@pytest.mark.parametrize("outcome", [Failed(BOOM, 5), Snoozed(5)], ids=["retry", "snooze"])
async def test_what_waits_again_is_promoted_as_well(desk: Desk, outcome: Failed | Snoozed) -> None:
    claim = await desk.running()
    await desk.finish(claim, outcome)
    assert await desk.promote() == 0
    desk.wait(5)
    assert await desk.promote() == 1
    assert (await desk.claim_one()).id == claim.id


async def test_a_job_that_expired_while_it_waited_is_promoted_and_then_expires(desk: Desk) -> None:
    id = await desk.enqueue(delay=10, expires=5)
    desk.wait(15)
    await desk.promote()
    assert await desk.claim(await desk.register()) == []
    assert await desk.state(id) is State.CANCELLED


async def test_an_idle_store_has_nothing_due(desk: Desk) -> None:
    await desk.enqueue()
    assert await desk(jobs.promote, limit=10) == (0, None)
    assert await desk(jobs.promote, limit=10) == (0, None)


async def test_a_far_future_is_told_in_seconds(desk: Desk) -> None:
    await desk.enqueue(run_at=desk.now + 86_400 * 365 * SECOND)
    assert await desk(jobs.promote, limit=10) == (0, 86_400 * 365)
