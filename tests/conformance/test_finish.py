"""Runs end: in the state that was decided, once, with their messages, and only while the lease is theirs."""

import pytest

from remit.client import records
from remit.db.transaction import Role
from remit.errors import StoreError
from remit.execution import operations as execution
from remit.execution.model import Landed
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import moment
from remit.jobs.states import Completed, Failed, GaveUp, Interrupted, Outcome, Skipped, Snoozed, State
from tests.conformance.desk import BOOM, DAWN, OUTCOMES, SECOND, Desk, a_job, ended, message_of


async def finished(desk: Desk, outcome: Outcome, **changes: object) -> str:
    claim = await desk.running(**changes)
    [landed] = await desk.finish(claim, outcome)
    assert landed.id == claim.id
    return claim.id


async def test_a_run_that_returned_is_completed_with_its_result(desk: Desk) -> None:
    job = await desk.get(await finished(desk, Completed('{"n":1}')))
    assert (job.state, job.result, job.reason, job.failures, job.worker) == (State.COMPLETED, {"n": 1}, None, 0, None)
    assert job.finished_at == moment(desk.now)
    assert (job.attempt, job.errors) == (1, ())


async def test_a_run_without_a_result_leaves_none(desk: Desk) -> None:
    assert (await desk.get(await finished(desk, Completed()))).result_text is None


async def test_a_skipped_run_says_why(desk: Desk) -> None:
    job = await desk.get(await finished(desk, Skipped("the invoice is gone")))
    assert (job.state, job.reason, job.finished_at) == (State.SKIPPED, "the invoice is gone", moment(desk.now))


async def test_a_failed_run_waits_and_is_charged(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk.finish(claim, Failed(BOOM, 30.5), worker=worker)
    job = await desk.get(claim.id)
    assert (job.state, job.failures, job.attempt, job.finished_at) == (State.SCHEDULED, 1, 1, None)
    assert job.run_at == moment(desk.now + 30_500_000)
    [failure] = job.errors
    assert (failure.attempt, failure.at, failure.worker) == (1, moment(desk.now), worker)
    assert (failure.kind, failure.message, failure.traceback) == ("ValueError", "boom", "Traceback …")


async def test_each_failure_is_kept_in_order(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue(attempts=3)
    for _ in range(3):
        await desk.finish(await desk.claim_one(worker), Failed(BOOM, 0))
        desk.wait(1)
        await desk.promote()
    [job] = (await desk(records.list_jobs, **EVERYTHING)).jobs
    job = await desk.get(job.id)
    assert (job.state, job.failures) == (State.DEAD, 3)
    assert [failure.attempt for failure in job.errors] == [1, 2, 3]
    assert job.reason == "failed 3 of 3 attempts; last: ValueError: boom"


async def test_a_run_that_gave_up_is_dead_with_reason_and_failure(desk: Desk) -> None:
    job = await desk.get(await finished(desk, GaveUp("no account", BOOM)))
    assert (job.state, job.reason, job.failures) == (State.DEAD, "no account", 1)
    assert [failure.kind for failure in job.errors] == ["ValueError"]


async def test_a_run_may_give_up_without_an_error(desk: Desk) -> None:
    job = await desk.get(await finished(desk, GaveUp("no account")))
    assert (job.state, job.errors, job.failures) == (State.DEAD, (), 1)


async def test_a_snoozed_run_waits_at_no_cost(desk: Desk) -> None:
    job = await desk.get(await finished(desk, Snoozed(3600)))
    assert (job.state, job.failures, job.run_at) == (State.SCHEDULED, 0, moment(desk.now + 3600 * SECOND))


async def test_an_interrupted_run_keeps_its_place(desk: Desk) -> None:
    claim = await desk.running(run_at=DAWN - 5)
    desk.wait(60)
    await desk.finish(claim, Interrupted())
    job = await desk.get(claim.id)
    assert (job.state, job.failures, job.run_at, job.worker) == (State.READY, 0, moment(DAWN - 5), None)
    assert (await desk.claim_one()).id == claim.id


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_every_transition_takes_the_token_away(desk: Desk, outcome: Outcome) -> None:
    claim = await desk.running()
    await desk.finish(claim, outcome)
    row = await desk.row(claim.id)
    assert row is not None
    assert row["token"] != claim.token


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_an_outcome_that_comes_twice_doubles_nothing(desk: Desk, outcome: Outcome) -> None:
    claim = await desk.running()
    message = message_of(claim)
    assert await desk.finish(claim, outcome, messages=[message]) != []
    before = (await desk.row(claim.id), await desk.count("job"), await desk.count("failure"))
    desk.wait(5)
    assert await desk.finish(claim, outcome, messages=[message, message_of(claim)]) == []
    assert (await desk.row(claim.id), await desk.count("job"), await desk.count("failure")) == before


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_a_zombie_is_refused(desk: Desk, outcome: Outcome) -> None:
    """It was rescued, and runs elsewhere."""
    zombie = await desk.register()
    claim = await desk.running(zombie)
    await desk.die(zombie)
    await desk.rescue()
    await desk.claim_one()
    before = await desk.row(claim.id)
    assert await desk.finish(claim, outcome, messages=[message_of(claim)]) == []
    assert await desk.row(claim.id) == before
    assert (await desk.count("job"), await desk.count("failure")) == (1, 0)


async def test_a_token_is_no_other_jobs_token(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job(), a_job()])
    [one, other] = await desk.claim(worker)
    assert one.token == other.token, "one claim, one token"
    await desk.finish(one, Completed())
    assert await desk.state(other.id) is State.RUNNING


async def test_a_batch_lands_in_parts(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(len(OUTCOMES) + 2)])
    first, *claims, last = await desk.claim(worker)
    await desk.finish(first, Completed())
    await desk(jobs.cancel, last.id, reason=None, by=None)
    batch = [ended(claim, outcome) for claim, outcome in zip(claims, OUTCOMES.values(), strict=True)]
    batch += [ended(first, Completed()), ended(last, Snoozed(5))]
    landed = await desk(execution.finish, batch[::-1], worker=worker, stamp=new_token(), role=Role.COMPLETE)
    wanted = {claim.id: end.transition.state for claim, end in zip(claims, batch, strict=False)}
    assert {one.id: one.state for one in landed} == {**wanted, last.id: State.CANCELLED}


async def test_a_batch_of_a_thousand_lands(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(1000)])
    claims = await desk.claim(worker, 1000)
    batch = [ended(claim, Completed(), [message_of(claim)]) for claim in claims]
    landed = await desk(execution.finish, batch, worker=worker, stamp=new_token(), role=Role.COMPLETE)
    assert len(landed) == 1000
    assert await desk.count("job", "state = 'completed'") == await desk.count("job", "state = 'ready'") == 1000


async def test_an_empty_batch_is_nothing(desk: Desk) -> None:
    assert await desk(execution.finish, [], worker=new_id(), stamp=new_token()) == []


async def test_messages_are_sent_with_the_outcome_that_lands(desk: Desk) -> None:
    claim = await desk.running()
    desk.wait(3)
    now, later = message_of(claim, label="now"), message_of(claim, label="later", delay=9, priority=4, expires=60)
    await desk.finish(claim, Completed(), messages=[now, later])
    sent = await desk.get(now["id"])
    assert (sent.state, sent.run_at, sent.created_at) == (State.READY, moment(desk.now), moment(desk.now))
    assert (sent.causation, sent.correlation, sent.label) == (claim.id, claim.correlation, "now")
    sent = await desk.get(later["id"])
    assert (sent.state, sent.run_at, sent.priority) == (State.SCHEDULED, moment(desk.now + 9 * SECOND), 4)
    assert sent.expires_at == moment(desk.now + 69 * SECOND)


async def test_messages_of_an_outcome_that_does_not_land_are_not_sent(desk: Desk) -> None:
    worker = await desk.register()
    await desk.enqueue_many([a_job(), a_job()])
    [lost, held] = await desk.claim(worker)
    await desk.finish(lost, Completed())
    kept = message_of(held)
    batch = [ended(lost, Completed(), [message_of(lost)]), ended(held, Completed(), [kept])]
    await desk(execution.finish, batch, worker=worker, stamp=new_token())
    sent = await desk.execute("SELECT id FROM {job} WHERE causation IS NOT NULL")
    assert [str(id) for (id,) in sent] == [kept["id"]]


async def test_a_message_that_is_there_already_is_left_alone(desk: Desk) -> None:
    claim = await desk.running()
    there = await desk.enqueue(label="there")
    await desk.finish(claim, Completed(), messages=[message_of(claim, id=there, label="sent")])
    assert (await desk.get(there)).label == "there"


@pytest.mark.parametrize(
    "outcome", [Failed(BOOM, 5), Snoozed(5), Interrupted()], ids=["failed", "snoozed", "given back"]
)
async def test_what_would_wait_again_is_cancelled_when_that_was_asked_for(desk: Desk, outcome: Outcome) -> None:
    claim = await desk.running()
    await desk(jobs.cancel, claim.id, reason="not wanted", by="ops")
    desk.wait(2)
    assert await desk.finish(claim, outcome) == [Landed(claim.id, State.CANCELLED)]
    job = await desk.get(claim.id)
    assert (job.state, job.reason, job.cancelled_by) == (State.CANCELLED, "not wanted", "ops")
    assert (job.finished_at, job.cancel_requested_at) == (moment(desk.now), moment(desk.now - 2 * SECOND))
    assert len(job.errors) == (1 if isinstance(outcome, Failed) else 0)


@pytest.mark.parametrize("name", ["completed", "skipped", "gave up"])
async def test_what_ends_anyway_ends_as_it_does(desk: Desk, name: str) -> None:
    claim = await desk.running()
    await desk(jobs.cancel, claim.id, reason="not wanted", by="ops")
    wanted = ended(claim, OUTCOMES[name]).transition
    assert await desk.finish(claim, OUTCOMES[name]) == [Landed(claim.id, wanted.state)]
    job = await desk.get(claim.id)
    assert (job.state, job.reason) == (wanted.state, wanted.reason)


@pytest.mark.parametrize("asked, reason", [("not wanted", "not wanted"), (None, "half of it is done")])
async def test_a_job_that_stops_because_it_was_asked_to_keeps_the_reason_of_the_request(
    desk: Desk, asked: str | None, reason: str
) -> None:
    claim = await desk.running()
    await desk(jobs.cancel, claim.id, reason=asked, by="ops")
    assert await desk.finish(claim, OUTCOMES["stopped"]) == [Landed(claim.id, State.CANCELLED)]
    job = await desk.get(claim.id)
    assert (job.reason, job.cancelled_by, job.failures, job.finished_at) == (reason, "ops", 0, moment(desk.now))


async def test_a_job_may_stop_by_itself(desk: Desk) -> None:
    job = await desk.get(await finished(desk, OUTCOMES["stopped"]))
    assert (job.state, job.reason, job.cancelled_by) == (State.CANCELLED, "half of it is done", None)


async def test_a_suspect_that_is_given_back_stays_one(desk: Desk) -> None:
    suspect = await a_suspect(desk)
    await desk(execution.start_suspect, suspect.id, token=suspect.token)
    await desk.finish(suspect, Interrupted())
    assert (await desk.claim_one()).suspect


async def test_a_started_suspect_that_is_given_back_has_not_started_any_more(desk: Desk) -> None:
    """Else the next crash beside it would be charged to it."""
    suspect = await a_suspect(desk)
    await desk(execution.start_suspect, suspect.id, token=suspect.token)
    await desk.finish(suspect, Interrupted())
    worker = await desk.register()
    await desk.claim_one(worker)
    await desk.die(worker)
    assert await desk.rescue() == [(suspect.id, State.READY, False)]
    assert (await desk.get(suspect.id)).failures == 0


@pytest.mark.parametrize("name", ["completed", "skipped", "failed", "gave up", "snoozed"])
async def test_a_suspect_that_came_to_an_end_by_itself_is_cleared(desk: Desk, name: str) -> None:
    suspect = await a_suspect(desk)
    await desk(execution.start_suspect, suspect.id, token=suspect.token)
    await desk.finish(suspect, OUTCOMES[name])
    assert not (await desk.get(suspect.id)).suspect


async def a_suspect(desk: Desk):
    worker = await desk.register()
    await desk.running(worker)
    await desk.die(worker)
    await desk.rescue()
    claim = await desk.claim_one()
    assert claim.suspect
    return claim


async def test_one_outcome_that_the_store_refuses_takes_the_batch_down_with_it(desk: Desk) -> None:
    """The completer bisects it then; nothing of the batch may have landed."""
    worker = await desk.register()
    await desk.enqueue_many([a_job(), a_job()])
    [good, bad] = await desk.claim(worker)
    batch = [ended(good, Completed()), ended(bad, Completed(), [message_of(bad, attempts=0)])]
    with pytest.raises(StoreError):
        await desk(execution.finish, batch, worker=worker, stamp=new_token())
    assert await desk.state(good.id) is await desk.state(bad.id) is State.RUNNING


EVERYTHING = {
    "state": None,
    "domain": None,
    "queue": None,
    "names": None,
    "label": None,
    "reason": None,
    "deleted": True,
    "after": None,
    "limit": 100,
}
