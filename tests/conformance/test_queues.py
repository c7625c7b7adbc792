"""Queues are paused and resumed, and tell what waits in them, what runs and what ended."""

import pytest

from remit.jobs import operations as jobs
from remit.jobs.states import Failed, State
from tests.conformance.desk import BOOM, QUEUE, Desk


async def test_a_pause_says_since_when_and_by_whom(desk: Desk) -> None:
    await desk(jobs.pause, QUEUE, by="ops")
    assert await desk(jobs.paused) == [(QUEUE, desk.now, "ops")]


async def test_a_second_pause_keeps_the_time_of_the_first(desk: Desk) -> None:
    since = desk.now
    await desk(jobs.pause, QUEUE, by="one")
    desk.wait(9)
    await desk(jobs.pause, QUEUE, by="two")
    assert await desk(jobs.paused) == [(QUEUE, since, "two")]


async def test_a_resumed_queue_is_paused_no_more(desk: Desk) -> None:
    await desk(jobs.pause, QUEUE, by="ops")
    assert await desk(jobs.resume, QUEUE)
    assert await desk(jobs.paused) == []
    assert not await desk(jobs.resume, QUEUE)
    assert not await desk(jobs.resume, "never.seen")


async def test_a_queue_can_be_paused_again(desk: Desk) -> None:
    for _ in range(2):
        await desk(jobs.pause, QUEUE, by=None)
        assert await desk(jobs.resume, QUEUE)
        desk.wait(1)
    await desk(jobs.pause, QUEUE, by=None)
    assert await desk(jobs.paused) == [(QUEUE, desk.now, None)]


async def test_what_waits_and_runs_is_counted_with_the_age_of_the_oldest(desk: Desk) -> None:
    await desk.running(line=1)
    desk.wait(5)
    await desk.running(line=1)
    await desk.enqueue()
    desk.wait(2.5)
    await desk.enqueue()
    await desk.enqueue(queue="shop.orders")
    await desk.enqueue(delay=60)
    await desk.in_state(State.COMPLETED, line=2)
    found = {(queue, state): rest for queue, state, *rest in await desk(jobs.waiting)}
    assert found == {
        (QUEUE, State.READY): [2, 0, pytest.approx(2.5)],
        (QUEUE, State.RUNNING): [2, 0, pytest.approx(7.5)],
        (QUEUE, State.SCHEDULED): [1, 0, None],
        ("shop.orders", State.READY): [1, 0, pytest.approx(0)],
    }


async def test_failing_jobs_and_failed_attempts_are_counted_by_queue(desk: Desk) -> None:
    worker = await desk.register()
    for queue in (QUEUE, QUEUE, "shop.orders"):
        await desk.enqueue(queue=queue)
        await desk.finish(await desk.claim_one(worker), Failed(BOOM, 5))
    desk.wait(1)
    assert await desk(jobs.failed_attempts, seconds=2.0) == {QUEUE: 2, "shop.orders": 1}
    assert await desk(jobs.failed_attempts, seconds=0.5) == {}
    retrying = {(queue, state): failed for queue, state, _, failed, _ in await desk(jobs.waiting)}
    assert retrying == {(QUEUE, State.SCHEDULED): 2, ("shop.orders", State.SCHEDULED): 1}


async def test_an_empty_store_has_nothing_to_tell(desk: Desk) -> None:
    assert await desk(jobs.waiting) == await desk(jobs.ended, seconds=60) == await desk(jobs.paused) == []
    assert await desk(jobs.dead) == {}
    assert await desk(jobs.final_queues) == []


async def test_what_ended_lately_is_counted_by_queue_and_state(desk: Desk) -> None:
    await desk.in_state(State.COMPLETED)
    desk.wait(60)
    for state in (State.COMPLETED, State.COMPLETED, State.SKIPPED, State.DEAD, State.CANCELLED):
        await desk.in_state(state)
    await desk.in_state(State.COMPLETED, queue="shop.orders")
    desk.wait(1)
    assert sorted(await desk(jobs.ended, seconds=60)) == sorted(
        [
            (QUEUE, State.COMPLETED, 2),
            (QUEUE, State.SKIPPED, 1),
            (QUEUE, State.DEAD, 1),
            (QUEUE, State.CANCELLED, 1),
            ("shop.orders", State.COMPLETED, 1),
        ]
    )
