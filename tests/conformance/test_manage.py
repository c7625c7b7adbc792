"""People act on jobs: cancel, retry, delete; each says what the job was, and changes only what it may."""

import pytest

from remit.client import records
from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import moment
from remit.jobs.states import FINAL, Completed, Failed, State
from tests.conformance.desk import BOOM, SECOND, Desk


@pytest.mark.parametrize("state", [State.SCHEDULED, State.READY])
async def test_a_waiting_job_is_cancelled_at_once(desk: Desk, state: State) -> None:
    id = await desk.in_state(state)
    desk.wait(4)
    assert await desk(jobs.cancel, id, reason="twice", by="ops") == (state, True)
    job = await desk.get(id)
    assert (job.state, job.reason, job.cancelled_by) == (State.CANCELLED, "twice", "ops")
    assert job.finished_at is not None
    assert job.cancel_requested_at is not None
    desk.wait(3600)
    await desk.promote()
    assert await desk.claim(await desk.register()) == []


async def test_a_running_job_is_asked_to_stop_and_keeps_its_holder(desk: Desk) -> None:
    claim = await desk.running()
    before = await desk.row(claim.id)
    desk.wait(4)
    assert await desk(jobs.cancel, claim.id, reason="twice", by="ops") == (State.RUNNING, True)
    after = await desk.row(claim.id)
    assert before is not None
    assert after is not None
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"cancel_at", "cancel_by", "reason"}
    assert (await desk.get(claim.id)).cancel_requested_at == moment(desk.now)
    assert await desk.finish(claim, Completed()) != []


async def test_a_cancelled_job_stays_as_it_was_cancelled(desk: Desk) -> None:
    id = await desk.in_state(State.READY)
    await desk(jobs.cancel, id, reason="first", by="one")
    before = await desk.row(id)
    desk.wait(1)
    assert await desk(jobs.cancel, id, reason="second", by="two") == (State.CANCELLED, True)
    assert await desk.row(id) == before


async def test_what_has_ended_otherwise_cannot_be_cancelled(desk: Desk) -> None:
    for state in FINAL - {State.CANCELLED}:
        id = await desk.in_state(state)
        before = await desk.row(id)
        assert await desk(jobs.cancel, id, reason="late", by="ops") == (state, False)
        assert await desk.row(id) == before


@pytest.mark.parametrize("state", [State.SCHEDULED, State.DEAD, State.CANCELLED, State.SKIPPED])
async def test_a_retry_begins_anew(desk: Desk, state: State) -> None:
    id = await desk.in_state(state, expires=1000)
    desk.wait(2000)
    token = new_token()
    assert await desk(jobs.retry, id, token=token) == (state, True)
    job = await desk.get(id)
    assert (job.state, job.failures, job.suspect, job.reason, job.worker) == (State.READY, 0, False, None, None)
    assert (job.finished_at, job.cancel_requested_at, job.cancelled_by, job.deleted_at) == (None,) * 4
    assert job.run_at == moment(desk.now)
    assert job.expires_at is None, "it would end unclaimed"
    assert (await desk.claim_one()).id == id
    row = await desk.row(id)
    assert row is not None
    assert row["token"] != token


async def test_a_retry_moves_the_token(desk: Desk) -> None:
    claim = await desk.running()
    await desk.finish(claim, Failed(BOOM, 100))
    token = new_token()
    await desk(jobs.retry, claim.id, token=token)
    row = await desk.row(claim.id)
    assert row is not None
    assert row["token"] == token


async def test_a_retry_that_is_repeated_because_its_commit_was_not_known_has_applied(desk: Desk) -> None:
    id, token = await desk.in_state(State.DEAD), new_token()
    assert await desk(jobs.retry, id, token=token) == (State.DEAD, True)
    before = await desk.row(id)
    desk.wait(1)
    assert await desk(jobs.retry, id, token=token) == (State.READY, True)
    assert await desk.row(id) == before
    assert await desk(jobs.retry, id, token=new_token()) == (State.READY, False)


async def test_a_retry_keeps_the_history_and_gives_all_attempts_again(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue(attempts=2)
    for again in (False, True):
        for _ in range(2):
            await desk.finish(claim := await desk.claim_one(worker), Failed(BOOM, 0))
            await desk.promote()
        job = await desk.get(claim.id)
        assert (job.state, job.failures, len(job.errors)) == (State.DEAD, 2, 4 if again else 2)
        await desk(jobs.retry, claim.id, token=new_token())


async def test_a_job_that_killed_its_workers_is_retried_without_suspicion(desk: Desk) -> None:
    await desk.enqueue(attempts=1)
    for started in (False, True):
        worker = await desk.register()
        claim = await desk.claim_one(worker)
        if started:
            await desk(execution.start_suspect, claim.id, token=claim.token)
        await desk.die(worker)
        await desk.rescue()
    assert await desk.state(claim.id) is State.DEAD
    await desk(jobs.retry, claim.id, token=new_token())
    again = await desk.claim_one()
    assert (again.suspect, again.failures) == (False, 0)


@pytest.mark.parametrize("state", [State.READY, State.RUNNING, State.COMPLETED])
async def test_what_runs_or_succeeded_cannot_be_retried(desk: Desk, state: State) -> None:
    id = await desk.in_state(state)
    before = await desk.row(id)
    assert await desk(jobs.retry, id, token=new_token()) == (state, False)
    assert await desk.row(id) == before


@pytest.mark.parametrize("state", [State.SCHEDULED, State.READY])
async def test_a_waiting_job_that_is_deleted_ends(desk: Desk, state: State) -> None:
    id = await desk.in_state(state)
    desk.wait(1)
    assert await desk(jobs.delete, id, purge=False) == (state, True)
    job = await desk.get(id)
    assert (job.state, job.reason) == (State.CANCELLED, "deleted")
    assert job.finished_at is not None
    assert job.deleted_at is not None
    desk.wait(3600)
    await desk.promote()
    assert await desk.claim(await desk.register()) == []


async def test_an_ended_job_that_is_deleted_is_hidden_and_otherwise_the_same(desk: Desk) -> None:
    for state in FINAL:
        id = await desk.in_state(state)
        before = await desk.row(id)
        desk.wait(1)
        assert await desk(jobs.delete, id, purge=False) == (state, True)
        after = await desk.row(id)
        assert before is not None
        assert after is not None
        assert {name for name in before if before[name] != after[name]} == {"deleted_at"}


async def test_a_deleted_job_that_is_retried_is_back(desk: Desk) -> None:
    id = await desk.in_state(State.DEAD)
    await desk(jobs.delete, id, purge=False)
    await desk(jobs.retry, id, token=new_token())
    assert (await desk.get(id)).deleted_at is None


@pytest.mark.parametrize("purge", [False, True])
async def test_a_running_job_is_not_deleted(desk: Desk, purge: bool) -> None:
    claim = await desk.running()
    before = await desk.row(claim.id)
    assert await desk(jobs.delete, claim.id, purge=purge) == (State.RUNNING, False)
    assert await desk.row(claim.id) == before


async def test_a_purged_job_is_gone_with_its_failures_and_logs(desk: Desk) -> None:
    for state in [State.SCHEDULED, State.READY, *FINAL]:
        id = await desk.in_state(state)
        await desk(jobs.log, [{"job": id, "attempt": 1, "logged_at": desk.now, "level": 20, "message": "x"}])
        assert await desk(jobs.delete, id, purge=True) == (state, True)
        assert await desk(records.get, id, atomic=True) is None
    assert (await desk.count("failure"), await desk.count("log")) == (0, 0)


async def test_commands_on_a_job_that_is_not_there(desk: Desk) -> None:
    nobody = new_id()
    assert await desk(jobs.cancel, nobody, reason=None, by=None) == (None, False)
    assert await desk(jobs.retry, nobody, token=new_token()) == (None, False)
    assert await desk(jobs.delete, nobody, purge=False) == (None, False)
    assert await desk(jobs.delete, nobody, purge=True) == (None, False)


async def test_commands_touch_one_job_alone(desk: Desk) -> None:
    other = await desk.in_state(State.DEAD)
    before = await desk.row(other)
    id = await desk.in_state(State.DEAD)
    desk.wait(1)
    await desk(jobs.retry, id, token=new_token())
    await desk(jobs.cancel, id, reason=None, by=None)
    await desk(jobs.delete, id, purge=False)
    await desk(jobs.delete, id, purge=True)
    assert await desk.row(other) == before
    assert await desk.count("job") == 1


async def test_a_job_that_was_cancelled_while_it_waited_for_a_retry_can_be_retried(desk: Desk) -> None:
    claim = await desk.running()
    await desk.finish(claim, Failed(BOOM, 100))
    await desk(jobs.cancel, claim.id, reason="no", by="ops")
    await desk(jobs.retry, claim.id, token=new_token())
    again = await desk.claim_one()
    await desk.finish(again, Failed(BOOM, 7))
    job = await desk.get(claim.id)
    assert (job.state, job.failures, job.run_at) == (State.SCHEDULED, 1, moment(desk.now + 7 * SECOND))
