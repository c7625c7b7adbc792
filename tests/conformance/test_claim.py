"""Jobs are given to workers: the best first, to one worker only, and to none that is gone."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from remit.db.transaction import Role
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.execution.shares import LAST_PRIORITY
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Failed, Interrupted, Outcome, Snoozed, State
from tests.conformance.desk import BOOM, LINE, QUEUE, Desk, a_job

NOBODY = "00000000-0000-7000-8000-000000000000"


async def take(desk: Desk, worker: str, *allotments: Allotment) -> tuple[list[Claim], list[str]]:
    return await desk(execution.claim, allotments, worker=worker, token=new_token(), role=Role.CLAIM)


async def test_a_claimed_job_runs_under_its_worker_and_token(desk: Desk) -> None:
    worker, token = await desk.register(), new_token()
    id = await desk.enqueue(attempts=5, backoff="{}", correlation=(correlation := new_id()))
    desk.wait(3)
    [claim], expired = await desk(execution.claim, [Allotment(LINE, QUEUE, 10)], worker=worker, token=token)
    assert claim == Claim(
        id, token, LINE, 0, 5, False, "json", '{"invoice_id":"i-1"}', "{}", correlation, "billing.sync-invoice"
    )
    assert expired == []
    row = await desk.row(id)
    assert row is not None
    assert (row["state"], row["token"], str(row["worker"])) == ("running", token, worker)
    job = await desk.get(id)
    assert job.claimed_at is not None
    assert (job.claimed_at - job.run_at).total_seconds() == 3


async def test_a_job_without_a_correlation_begins_one(desk: Desk) -> None:
    claim = await desk.running()
    assert claim.correlation == claim.id


async def test_what_is_claimed_is_not_claimed_again(desk: Desk) -> None:
    worker = await desk.register()
    await desk.running(worker)
    assert await desk.claim(worker) == []


async def test_jobs_come_by_priority_then_lane_then_time_then_id(desk: Desk) -> None:
    def row(priority: int, lane: int, seconds: int) -> dict[str, Any]:
        return a_job(priority=priority, lane=lane, run_at=desk.now + seconds)

    rows = [row(p, lane, s) for p in (5, -5, 0) for lane in (1, -1, 0) for s in (-1, -3, -2) for _ in range(2)]
    await desk.enqueue_many(random.Random(1).sample(rows, len(rows)))
    worker = await desk.register()
    wanted = [
        job["id"] for job in sorted(rows, key=lambda job: (job["priority"], job["lane"], job["run_at"], job["id"]))
    ]
    got = [claim.id for quota in (1, 10, 100) for claim in await desk.claim(worker, quota)]
    assert got == wanted


async def test_jobs_of_one_call_are_claimed_in_its_order(desk: Desk) -> None:
    ids = await desk.enqueue_many([a_job() for _ in range(50)])
    assert [claim.id for claim in await desk.claim(await desk.register(), 50)] == ids


async def test_a_claim_takes_no_more_than_its_quota(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(5)])
    assert [len(await desk.claim(worker, 2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_claim_takes_none_of_a_priority_beyond_its_ceiling(desk: Desk) -> None:
    await desk.enqueue_many([a_job(priority=priority) for priority in (1, 2, 3, LAST_PRIORITY)])
    claims, _ = await take(desk, await desk.register(), Allotment(LINE, QUEUE, 10, ceiling=2))
    assert len(claims) == 2


async def test_the_default_ceiling_takes_all(desk: Desk) -> None:
    await desk.enqueue(priority=LAST_PRIORITY)
    assert len(await desk.claim(await desk.register())) == 1


async def test_each_line_has_its_own_quota(desk: Desk) -> None:
    await desk.enqueue_many([a_job(line=line, priority=line) for line in (1, 2, 3) for _ in range(5)])
    claims, _ = await take(
        desk, await desk.register(), Allotment(1, QUEUE, 1), Allotment(2, QUEUE, 3), Allotment(3, QUEUE, 9)
    )
    assert Counter(claim.line for claim in claims) == {1: 1, 2: 3, 3: 5}
    assert [claim.line for claim in claims] == sorted(claim.line for claim in claims)


async def test_the_lines_of_one_claim_come_back_best_first(desk: Desk) -> None:
    worker = await desk.register()
    low, high = await desk.enqueue(line=1, priority=1), await desk.enqueue(line=2, priority=0)
    claims, _ = await take(desk, worker, Allotment(1, QUEUE, 5), Allotment(2, QUEUE, 5))
    assert [claim.id for claim in claims] == [high, low]


async def test_lines_that_nobody_asked_for_are_left_to_others(desk: Desk) -> None:
    stranger = await desk.enqueue(line=LINE + 1)
    assert await desk.claim(await desk.register()) == []
    assert await desk.state(stranger) is State.READY


async def test_an_empty_claim_takes_nothing(desk: Desk) -> None:
    await desk.enqueue()
    assert await take(desk, await desk.register()) == ([], [])
    assert await take(desk, await desk.register(), Allotment(LINE, QUEUE, 0)) == ([], [])


async def test_a_paused_queue_gives_nothing_and_holds_no_other_up(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue(line=1, queue="billing.paused")
    free = await desk.enqueue(line=2, queue="billing.free")
    await desk(jobs.pause, "billing.paused", by=None)
    asked = [Allotment(1, "billing.paused", 5), Allotment(2, "billing.free", 5)]
    claims, _ = await take(desk, worker, *asked)
    assert [claim.id for claim in claims] == [free]
    await desk(jobs.resume, "billing.paused")
    claims, _ = await take(desk, worker, *asked)
    assert [claim.line for claim in claims] == [1]


async def test_a_worker_that_is_not_registered_claims_nothing(desk: Desk) -> None:
    id = await desk.enqueue()
    before = await desk.row(id)
    assert await desk.claim(NOBODY) == []
    gone = await desk.register()
    await desk.die(gone)
    assert await desk.claim(gone) == []
    assert await desk.row(id) == before


async def test_scheduled_jobs_are_not_claimed(desk: Desk) -> None:
    await desk.enqueue(delay=1)
    assert await desk.claim(await desk.register()) == []


async def test_an_expired_job_ends_cancelled_with_the_reason(desk: Desk) -> None:
    worker = await desk.register()
    late, timely = await desk.enqueue_many([a_job(expires=10), a_job(expires=10.000001)])
    desk.wait(10)
    claims, expired = await take(desk, worker, Allotment(LINE, QUEUE, 5))
    assert ([claim.id for claim in claims], [claim.id for claim in expired]) == ([timely], [late])
    job = await desk.get(late)
    assert (job.state, job.reason, job.worker) == (State.CANCELLED, "expired before its first run", None)
    assert job.finished_at == job.claimed_at is not None


@pytest.mark.parametrize(
    "outcome, expires",
    [(Failed(BOOM, 0), False), (Snoozed(0), False), (Interrupted(began=True), False), (Interrupted(), True)],
    ids=["failed", "snoozed", "interrupted", "given back before its start"],
)
async def test_an_expiry_bounds_the_start_of_the_first_run_alone(desk: Desk, outcome: Outcome, expires: bool) -> None:
    worker = await desk.register()
    claim = await desk.running(worker, expires=10, attempts=3)
    await desk.finish(claim, outcome)
    await desk.promote()
    desk.wait(10)
    claims, expired = await take(desk, worker, Allotment(LINE, QUEUE, 1))
    ids = [one.id for one in claims], [one.id for one in expired]
    assert ids == (([], [claim.id]) if expires else ([claim.id], []))


async def test_a_job_whose_worker_died_may_have_run_and_does_not_expire(desk: Desk) -> None:
    claim = await desk.running(await desk.register(), expires=10)
    await desk.execute("DELETE FROM {worker}")
    await desk.rescue()
    desk.wait(10)
    assert (await desk.claim_one(await desk.register())).id == claim.id


async def test_a_claim_carries_what_the_job_was_charged(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker, attempts=9)
    await desk.finish(claim, Interrupted())
    await desk.execute("UPDATE {job} SET failures = 4")
    again = await desk.claim_one(worker)
    assert (again.failures, again.attempts, again.attempt) == (4, 9, 5)
    assert again.token != claim.token


@pytest.mark.parametrize("round", range(3))
async def test_no_job_is_claimed_twice_by_four_at_once(desk: Desk, round: int) -> None:
    ids = await desk.enqueue_many([a_job(priority=place % 3) for place in range(200)])

    async def claimer(own: Desk) -> list[str]:
        worker = await own.register()
        got: list[str] = []
        while claims := await own.claim(worker, 7):
            got += [claim.id for claim in claims]
        return got

    four = [desk.another() for _ in range(4)]
    if desk.style == "blocking":
        shares = await asyncio.gather(*(asyncio.to_thread(asyncio.run, claimer(own)) for own in four))
    else:
        shares = await asyncio.gather(*(claimer(own) for own in four))
    assert sorted(id for share in shares for id in share) == sorted(ids)


async def test_heads_name_the_best_ready_priority_of_each_line(desk: Desk) -> None:
    await desk.enqueue_many([a_job(line=1, priority=9), a_job(line=1, priority=-3), a_job(line=2, priority=4)])
    await desk.enqueue(line=3, delay=5)
    asked = [(line, QUEUE) for line in (1, 2, 3, 4)]
    assert await desk(execution.heads, asked) == {1: -3, 2: 4}
    assert await desk(execution.heads, []) == {}


async def test_heads_leave_paused_queues_out(desk: Desk) -> None:
    await desk.enqueue(line=1)
    await desk(jobs.pause, QUEUE, by=None)
    assert await desk(execution.heads, [(1, QUEUE)]) == {}
    assert await desk(execution.heads, [(1, "billing.other")]) == {1: 0}


async def test_lines_lists_every_line_with_ready_jobs(desk: Desk) -> None:
    await desk.enqueue_many(
        [a_job(line=-5, queue="a.b", name="a.x", version=2) for _ in range(3)] + [a_job(line=5), a_job(line=6, delay=1)]
    )
    await desk.running(line=LINE)
    assert sorted(await desk(jobs.lines)) == [(-5, "a.b", "a.x", 2), (5, QUEUE, "billing.sync-invoice", 1)]
    await desk.execute("DELETE FROM {job}")
    assert await desk(jobs.lines) == []
