"""Jobs whose worker is gone are freed: by liveness, and the innocent are not charged."""

from collections.abc import Sequence
from typing import Any

from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.model import moment
from remit.jobs.states import Completed, Failed, State
from remit.runtime import operations as workers
from tests.conformance.desk import BOOM, LINE, QUEUE, Desk, a_job


async def crash(desk: Desk, *, started: bool) -> Claim:
    """A worker takes the only ready job, and dies."""
    worker = await desk.register()
    claim = await desk.claim_one(worker)
    if started:
        assert await desk(execution.start_suspect, claim.id, token=claim.token)
    await desk.die(worker)
    return claim


async def test_a_job_of_a_live_worker_is_left_alone_however_long_it_runs(desk: Desk) -> None:
    claim = await desk.running()
    desk.wait(30 * 86_400)
    before = await desk.row(claim.id)
    assert await desk.rescue() == []
    assert await desk.row(claim.id) == before


async def test_the_first_rescue_charges_nobody_and_makes_suspects(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(3)])
    claims = await desk.claim(worker)
    await desk.die(worker)
    token = new_token()
    rescued = [job[:3] for job in await desk(execution.rescue, token=token, limit=10)]
    assert sorted(rescued) == sorted((claim.id, State.READY, False) for claim in claims)
    for claim in claims:
        job = await desk.get(claim.id)
        assert (job.state, job.failures, job.suspect, job.worker, job.errors) == (State.READY, 0, True, None, ())
        row = await desk.row(claim.id)
        assert row is not None
        assert (row["token"], row["suspect"]) == (token, 1)


async def test_a_suspect_that_had_not_started_is_not_charged_either(desk: Desk) -> None:
    await desk.enqueue()
    for _ in range(5):
        claim = await crash(desk, started=False)
        assert await desk.rescue() == [(claim.id, State.READY, False)]
    job = await desk.get(claim.id)
    assert (job.failures, job.suspect, job.errors) == (0, True, ())


async def test_who_may_take_no_suspect_looks_and_claims_past_them(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job(priority=-5) for _ in range(3)])
    suspects = {claim.id for claim in await desk.claim(worker)}
    await desk.die(worker)
    await desk.rescue()
    other, known, allotments = await desk.register(), [(LINE, QUEUE)], [Allotment(LINE, QUEUE, 2)]
    assert await desk(execution.heads, known, suspects=False) == {}
    assert await desk(execution.claim, allotments, worker=other, token=new_token(), suspects=False) == ([], [])
    id = await desk.enqueue(priority=7)
    assert await desk(execution.heads, known, suspects=False) == {LINE: 7}
    assert await desk(execution.heads, known) == {LINE: -5}
    [claim], _ = await desk(execution.claim, allotments, worker=other, token=new_token(), suspects=False)
    assert (claim.id, claim.suspect) == (id, False)
    [suspect] = await desk.claim(other)
    assert suspect.id == min(suspects)


async def make_suspects(desk: Desk, rows: Sequence[dict[str, Any]]) -> None:
    """As a rescue leaves them."""
    await desk.enqueue_many(rows)
    await desk.execute("UPDATE {job} SET suspect = 1 WHERE state = 'ready'")


async def test_a_claim_takes_one_suspect_of_all_lines_and_goes_past_the_others(desk: Desk) -> None:
    first, *others = [a_job(line=line, priority=line) for line in (1, 2) for _ in range(3)]
    await make_suspects(desk, [first, *others])
    plain = await desk.enqueue_many([a_job(line=line, priority=line) for line in (1, 2) for _ in range(2)])
    worker, allotments = await desk.register(), [Allotment(1, QUEUE, 2), Allotment(2, QUEUE, 2)]
    claims, _ = await desk(execution.claim, allotments, worker=worker, token=new_token())
    assert [claim.id for claim in claims if claim.suspect] == [first["id"]]
    assert {claim.id for claim in claims if not claim.suspect} == {plain[0], plain[2], plain[3]}
    claims, _ = await desk(execution.claim, allotments, worker=worker, token=new_token(), suspects=False)
    assert [claim.id for claim in claims] == [plain[1]]
    claims, _ = await desk(execution.claim, allotments, worker=await desk.register(), token=new_token())
    assert [claim.id for claim in claims] == [others[0]["id"]], "another worker takes the next one"


async def test_a_suspect_keeps_its_place_behind_better_priorities(desk: Desk) -> None:
    await make_suspects(desk, [a_job(priority=5)])
    better = await desk.enqueue_many([a_job(priority=0) for _ in range(3)])
    worker = await desk.register()
    claims, _ = await desk(execution.claim, [Allotment(LINE, QUEUE, 3)], worker=worker, token=new_token())
    assert [claim.id for claim in claims] == better
    allotments = [Allotment(LINE, QUEUE, 3, ceiling=4)]
    assert await desk(execution.claim, allotments, worker=worker, token=new_token()) == ([], [])
    [claim] = await desk.claim(worker)
    assert claim.suspect


async def test_the_crash_of_a_started_suspect_is_charged(desk: Desk) -> None:
    await desk.enqueue(attempts=3)
    await crash(desk, started=False)
    await desk.rescue()
    claim = await crash(desk, started=True)
    desk.wait(9)
    assert await desk.rescue() == [(claim.id, State.READY, True)]
    job = await desk.get(claim.id)
    assert (job.state, job.failures, job.suspect) == (State.READY, 1, True)
    [failure] = job.errors
    assert (failure.attempt, failure.kind, failure.at) == (1, "WorkerDied", moment(desk.now))
    assert failure.message == "the worker died while it ran this job"


async def test_a_job_that_kills_its_workers_is_dead_after_its_attempts(desk: Desk) -> None:
    await desk.enqueue(attempts=2)
    await crash(desk, started=False)
    await desk.rescue()
    for _ in range(2):
        claim = await crash(desk, started=True)
        rescued = await desk.rescue()
    assert rescued == [(claim.id, State.DEAD, True)]
    job = await desk.get(claim.id)
    assert (job.state, job.failures, job.finished_at) == (State.DEAD, 2, moment(desk.now))
    assert job.reason == "killed its worker in 2 of 2 attempts"
    assert [failure.attempt for failure in job.errors] == [1, 2]


async def test_crashes_and_failures_are_charged_to_one_account(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker, attempts=2)
    await desk.finish(claim, Failed(BOOM, 0))
    await desk.promote()
    await crash(desk, started=False)
    await desk.rescue()
    claim = await crash(desk, started=True)
    assert await desk.rescue() == [(claim.id, State.DEAD, True)]
    assert [failure.kind for failure in (await desk.get(claim.id)).errors] == ["ValueError", "WorkerDied"]


async def test_a_second_rescue_says_nothing_of_the_crash_before(desk: Desk) -> None:
    """Even at the same instant: a virtual clock stands still."""
    await desk.enqueue(attempts=9)
    await crash(desk, started=False)
    await desk.rescue()
    await crash(desk, started=True)
    await desk.rescue()
    claim = await crash(desk, started=False)
    assert await desk.rescue() == [(claim.id, State.READY, False)]
    assert (await desk.get(claim.id)).failures == 1


async def test_a_job_that_was_asked_to_stop_is_cancelled(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk(jobs.cancel, claim.id, reason="not wanted", by="ops")
    await desk.die(worker)
    assert await desk.rescue() == [(claim.id, State.CANCELLED, False)]
    job = await desk.get(claim.id)
    assert (job.state, job.reason, job.cancelled_by) == (State.CANCELLED, "not wanted", "ops")


async def test_a_started_suspect_that_was_asked_to_stop_is_cancelled_though_it_crashed(desk: Desk) -> None:
    await desk.enqueue(attempts=1)
    await crash(desk, started=False)
    await desk.rescue()
    worker = await desk.register()
    claim = await desk.claim_one(worker)
    await desk(execution.start_suspect, claim.id, token=claim.token)
    await desk(jobs.cancel, claim.id, reason="not wanted", by=None)
    await desk.die(worker)
    assert await desk.rescue() == [(claim.id, State.CANCELLED, True)]
    job = await desk.get(claim.id)
    assert (job.state, job.reason, job.failures, len(job.errors)) == (State.CANCELLED, "not wanted", 1, 1)


async def test_a_rescue_takes_no_more_than_its_limit(desk: Desk) -> None:
    worker = await desk.register()
    ids = await desk.enqueue_many([a_job() for _ in range(5)])
    await desk.claim(worker)
    await desk.die(worker)
    first, second, third = [await desk.rescue(limit=2) for _ in range(3)]
    assert [id for id, _, _ in [*sorted(first), *sorted(second), *third]] == ids


async def test_an_attempt_that_came_to_an_end_is_not_rescued(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk.finish(claim, Completed())
    await desk.die(worker)
    assert await desk.rescue() == []


async def test_a_suspect_starts_under_its_token_alone(desk: Desk) -> None:
    claim = await desk.running()
    assert not await desk(execution.start_suspect, claim.id, token=new_token())
    assert await desk(execution.start_suspect, claim.id, token=claim.token)
    row = await desk.row(claim.id)
    assert row is not None
    assert (row["suspect"], row["token"]) == (2, claim.token)


async def test_held_lists_what_a_worker_holds_and_was_asked_to_stop(desk: Desk) -> None:
    worker, other = await desk.register(), await desk.register()
    await desk.enqueue_many([a_job() for _ in range(3)])
    [one, two] = await desk.claim(worker, 2)
    await desk.claim_one(other)
    await desk(jobs.cancel, two.id, reason=None, by=None)
    held = await desk(execution.held, worker=worker)
    assert sorted(held) == sorted([(one.id, one.token, 0, False), (two.id, two.token, 0, True)])
    await desk.finish(one, Completed())
    await desk.finish(two, Completed())
    assert await desk(execution.held, worker=worker) == []


async def test_a_buried_worker_leaves_its_jobs_to_the_rescuer(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    assert await desk(workers.declare_dead, worker, beat=0)
    assert await desk.rescue() == [(claim.id, State.READY, False)]
