"""Ended jobs are kept for as long as was said, and removed in small batches; nothing else is ever removed."""

from typing import Any

import pytest

from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import FINAL, Completed, GaveUp, State
from tests.conformance.desk import QUEUE, Desk, a_job, ended

HOUR, DAY = 3600.0, 86_400.0


async def completed(desk: Desk, count: int = 1, **changes: Any) -> list[str]:
    """Jobs that ended in one statement, so at one instant."""
    worker = await desk.register()
    ids = await desk.enqueue_many([a_job(**changes) for _ in range(count)])
    claims = await desk.claim(worker, count)
    assert len(claims) == count
    await desk(execution.finish, [ended(one, Completed()) for one in claims], worker=worker, stamp=new_token())
    return ids


async def prune(desk: Desk, age: float, *, dead: bool = False, queue: str = QUEUE, limit: int = 100) -> int:
    return await desk(jobs.prune, queue=queue, age=age, dead=dead, limit=limit)


async def left(desk: Desk) -> set[str]:
    return {str(id) for (id,) in await desk.execute("SELECT id FROM {job}")}


async def test_what_is_older_than_its_age_is_removed(desk: Desk) -> None:
    await completed(desk)
    desk.wait(HOUR)
    young = await completed(desk)
    assert await prune(desk, HOUR) == 0, "exactly so old is not older"
    desk.wait(0.000001)
    assert await prune(desk, HOUR) == 1
    assert await left(desk) == set(young)


async def test_failures_and_logs_go_with_their_job(desk: Desk) -> None:
    id = await desk.in_state(State.DEAD)
    await desk(jobs.log, [{"job": id, "attempt": 1, "logged_at": desk.now, "level": 20, "message": "x"}])
    desk.wait(1)
    assert await prune(desk, 0, dead=True) == 1
    assert (await desk.count("failure"), await desk.count("log")) == (0, 0)


async def test_only_what_has_ended_is_pruned_and_the_dead_apart(desk: Desk) -> None:
    of = {state: await desk.in_state(state, line=place) for place, state in enumerate(State)}
    desk.wait(DAY)
    assert await prune(desk, 0) == 3
    assert await left(desk) == {of[state] for state in State if state not in FINAL or state is State.DEAD}
    assert await prune(desk, 0, dead=True) == 1
    assert await left(desk) == {of[state] for state in State if state not in FINAL}
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=0, limit=100) == 0


async def test_queues_are_pruned_apart(desk: Desk) -> None:
    mine, other = await completed(desk), await completed(desk, queue="shop.orders")
    desk.wait(DAY)
    assert await prune(desk, 0, queue="shop.orders") == 1
    assert await left(desk) == set(mine) != set(other)


async def test_a_batch_is_no_larger_than_its_limit_and_begins_with_the_oldest(desk: Desk) -> None:
    ages = [(await completed(desk))[0]]
    for _ in range(4):
        desk.wait(1)
        ages += await completed(desk)
    desk.wait(HOUR)
    assert await prune(desk, 1, limit=2) == 2
    assert await left(desk) == set(ages[2:])
    assert [await prune(desk, 1, limit=2) for _ in range(3)] == [2, 1, 0]


async def test_the_newest_so_many_of_a_queue_are_kept(desk: Desk) -> None:
    ids: list[str] = []
    for _ in range(5):
        ids += await completed(desk)
        desk.wait(1)
    stranger = await completed(desk, queue="shop.orders")
    dead = await desk.in_state(State.DEAD)
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=5, limit=100) == 0
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=2, limit=100) == 3
    assert await left(desk) == {*ids[3:], *stranger, dead}
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=2, limit=100) == 0


async def test_of_those_that_ended_at_one_instant_so_many_are_kept(desk: Desk) -> None:
    """The completer ends a thousand jobs in one statement, and all of them at its time."""
    await completed(desk, 10)
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=4, limit=100) == 6
    assert len(await left(desk)) == 4
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=4, limit=100) == 0


async def test_what_exceeds_the_count_is_removed_in_batches(desk: Desk) -> None:
    await completed(desk, 10)
    removed = [await desk(jobs.prune_beyond, queue=QUEUE, count=3, limit=3) for _ in range(4)]
    assert removed == [3, 3, 1, 0]


@pytest.mark.parametrize("count", [2**31, 2**62])
async def test_a_count_may_be_as_large_as_a_policy_allows(desk: Desk, count: int) -> None:
    await completed(desk)
    assert await desk(jobs.prune_beyond, queue=QUEUE, count=count, limit=3) == 0


async def test_an_age_may_be_as_large_as_a_policy_allows(desk: Desk) -> None:
    await completed(desk)
    thousand_years = 1000 * 365 * DAY
    assert await prune(desk, thousand_years) == 0


async def test_a_job_with_a_time_of_its_own_is_kept_for_that_time(desk: Desk) -> None:
    [short], [long] = await completed(desk, keep=10), await completed(desk, keep=1000)
    desk.wait(100)
    assert await prune(desk, 0) == await desk(jobs.prune_beyond, queue=QUEUE, count=0, limit=9) == 0
    assert await left(desk) == {short, long}
    assert await desk(jobs.prune_kept, limit=100) == 1
    assert await left(desk) == {long}


async def test_a_time_of_its_own_is_for_the_ended_alone(desk: Desk) -> None:
    waiting = await desk.enqueue(keep=0)
    desk.wait(DAY)
    assert await desk(jobs.prune_kept, limit=100) == 0
    assert await left(desk) == {waiting}


async def test_a_dead_letter_is_kept_as_dead_letters_are_whatever_its_own_time(desk: Desk) -> None:
    """`keep` says how long a job is kept after it completed; a dead letter waits for a person."""
    claim = await desk.running(keep=0)
    await desk.finish(claim, GaveUp("x"))
    desk.wait(13 * DAY)
    assert await desk(jobs.prune_kept, limit=100) == await prune(desk, 14 * DAY, dead=True) == 0
    desk.wait(2 * DAY)
    assert await prune(desk, 14 * DAY, dead=True) == 1


async def test_the_queues_with_ended_jobs_are_known(desk: Desk) -> None:
    await completed(desk, queue="b.b")
    await completed(desk, 2, queue="a.a")
    await desk.enqueue(queue="c.c")
    assert await desk(jobs.final_queues) == ["a.a", "b.b"]
