"""Jobs are sent: in what state, under which times, once."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from remit.db.statements import Query
from remit.db.transaction import Row, Value
from remit.errors import ForeignTransaction, StoreError
from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.jobs.model import moment
from remit.jobs.states import Completed, State
from tests.conformance.desk import DAWN, LINE, QUEUE, SECOND, At, Desk, a_job, message_of


class Counting:
    """A transaction that notes which statements it was asked for."""

    def __init__(self, tx: At) -> None:
        self.tx = tx
        self.dialect = tx.dialect
        self.blocking = False
        self.asked: list[str] = []

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        self.asked.append(query.name)
        return await self.tx.fetch(query, **params)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(DAWN // SECOND, UTC) + timedelta(seconds=seconds)


async def test_a_job_without_a_time_is_ready_at_once(desk: Desk) -> None:
    job = await desk.get(await desk.enqueue())
    assert (job.state, job.run_at, job.created_at) == (State.READY, at(0), at(0))
    assert (job.domain, job.queue, job.name, job.version) == ("billing", QUEUE, "billing.sync-invoice", 1)
    assert (job.priority, job.failures, job.attempts, job.attempt, job.suspect) == (0, 0, 3, 0, False)
    assert (job.encoding, job.payload_text, job.payload) == ("json", '{"invoice_id":"i-1"}', {"invoice_id": "i-1"})
    assert (job.claimed_at, job.finished_at, job.expires_at, job.worker, job.reason, job.result) == (None,) * 6


async def test_only_a_duplicate_costs_a_second_statement(desk: Desk) -> None:
    job = a_job(kinds=["billing.sync-invoice"])
    async with desk.session() as (tx, _):
        counting = Counting(tx)
        identity = await jobs.store(tx)
        assert await jobs.enqueue(counting, [job], store=identity) == 1
        assert counting.asked == ["enqueue_one"]
        assert await jobs.enqueue(counting, [job], store=identity) == 0
        assert counting.asked == ["enqueue_one", "enqueue_one", "stored"]


async def test_everything_that_a_call_may_say_is_kept(desk: Desk) -> None:
    said = {
        "timeout": 0.25,
        "priority": -32768,
        "attempts": 1_000_000,
        "label": "Invoice 7",
        "requested_by": '{"name":"Ada"}',
        "attachment": "https://example.org/7.pdf",
        "correlation": new_id(),
        "causation": new_id(),
    }
    job = await desk.get(await desk.enqueue(**said))
    assert (job.priority, job.attempts, job.label, job.timeout) == (-32768, 1_000_000, "Invoice 7", 0.25)
    assert (job.requested_by, job.attachment) == ({"name": "Ada"}, "https://example.org/7.pdf")
    assert (job.correlation, job.causation) == (said["correlation"], said["causation"])


async def test_what_only_workers_read_is_kept_too(desk: Desk) -> None:
    id = await desk.enqueue(lane=-(2**62), keep=0.5, backoff='{"kind":"fixed"}', traceparent="00-ab-cd-01")
    row = await desk.row(id)
    assert row is not None
    assert (row["line"], row["lane"], row["keep"]) == (LINE, -(2**62), 0.5)
    assert (row["backoff"], row["traceparent"], row["event_id"]) == ('{"kind":"fixed"}', "00-ab-cd-01", None)


@pytest.mark.parametrize("line", [2**63 - 1, -(2**63)])
async def test_a_line_is_any_number_of_64_bits(desk: Desk, line: int) -> None:
    await desk.enqueue(line=line)
    assert await desk(execution.heads, [(line, QUEUE)]) == {line: 0}


async def test_a_delayed_job_is_scheduled_from_the_time_of_the_database(desk: Desk) -> None:
    job = await desk.get(await desk.enqueue(delay=1.5))
    assert (job.state, job.run_at) == (State.SCHEDULED, at(1.5))


@pytest.mark.parametrize("seconds, state", [(0.000001, State.SCHEDULED), (0, State.READY), (-3600, State.READY)])
async def test_a_job_is_scheduled_while_its_time_is_to_come(desk: Desk, seconds: float, state: State) -> None:
    job = await desk.get(await desk.enqueue(run_at=desk.now + round(seconds * SECOND)))
    assert (job.state, job.run_at) == (state, at(seconds))


@pytest.mark.parametrize(
    "when, expiry",
    [({}, 90.5), ({"delay": 10}, 100.5), ({"run_at": DAWN + 3600 * SECOND}, 3690.5), ({"run_at": DAWN - 60}, 90.5)],
    ids=["now", "delay", "at", "at, in the past"],
)
async def test_a_job_expires_so_many_seconds_after_it_is_due(desk: Desk, when: dict[str, float], expiry: float) -> None:
    assert (await desk.get(await desk.enqueue(expires=90.5, **when))).expires_at == at(expiry)
    claim = await desk.running(line=1)
    sent = message_of(claim, expires=90.5, **when)
    await desk.finish(claim, Completed(), messages=[sent])
    assert (await desk.get(sent["id"])).expires_at == at(expiry)


async def test_a_job_expires_at_an_instant(desk: Desk) -> None:
    job = await desk.get(await desk.enqueue(expires_at=desk.now + 7, delay=5))
    assert job.expires_at == moment(desk.now + 7)


@pytest.mark.parametrize("at", [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
async def test_any_time_that_python_knows_can_be_stored(desk: Desk, at: datetime) -> None:
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    job = await desk.get(await desk.enqueue(run_at=micros))
    assert abs(job.run_at - at) <= timedelta(milliseconds=1)


async def test_an_id_that_is_there_already_is_left_alone(desk: Desk) -> None:
    id = await desk.enqueue(label="first")
    before = await desk.row(id)
    desk.wait(1)
    other = new_id()
    await desk.enqueue_many([a_job(id=id, label="second"), a_job(id=other)])
    assert await desk.row(id) == before
    assert await desk.state(other) is State.READY


async def test_an_id_that_is_repeated_in_one_call_is_sent_once(desk: Desk) -> None:
    id = new_id()
    await desk.enqueue_many([a_job(id=id), a_job(id=id)])
    assert await desk.count("job") == 1


async def test_many_jobs_are_sent_in_one_statement_each_with_its_own_options(desk: Desk) -> None:
    rows = [a_job(priority=place % 7, label=f"job {place}", delay=place % 2) for place in range(1000)]
    await desk.enqueue_many(rows)
    assert await desk.count("job", "state = 'ready'") == 500
    assert await desk.count("job", "priority = 3") == len([row for row in rows if row["priority"] == 3])
    assert (await desk.get(rows[999]["id"])).label == "job 999"


async def test_an_enqueue_answers_how_many_jobs_are_new(desk: Desk) -> None:
    rows = [a_job() for _ in range(3)]
    identity = await desk.identity()
    assert await desk(jobs.enqueue, rows, store=identity) == 3
    assert await desk(jobs.enqueue, [*rows, a_job()], store=identity) == 1
    assert await desk(jobs.enqueue, rows, store=identity) == 0


async def test_more_jobs_than_one_statement_takes(desk: Desk) -> None:
    rows = [a_job() for _ in range(2 * jobs.LARGEST_INSERT + 1)]
    assert await desk(jobs.enqueue, rows, store=await desk.identity(), atomic=True) == len(rows)
    rows = [*(a_job() for _ in range(jobs.LARGEST_INSERT)), a_job(attempts=0)]
    with pytest.raises(StoreError):
        await desk(jobs.enqueue, rows, store=await desk.identity(), atomic=True)
    assert await desk.count("job") == 2 * jobs.LARGEST_INSERT + 1


async def test_nothing_is_sent_when_there_is_nothing_to_send(desk: Desk) -> None:
    await desk.enqueue_many([])
    assert await desk.count("job") == 0


async def test_another_store_is_refused_in_the_same_statement(desk: Desk) -> None:
    with pytest.raises(ForeignTransaction):
        await desk(jobs.enqueue, [a_job()], store="00000000-0000-4000-8000-000000000000")
    assert await desk.count("job") == 0


async def test_all_are_sent_or_none(desk: Desk) -> None:
    with pytest.raises(StoreError):
        await desk.enqueue_many([a_job(), a_job(attempts=0), a_job()])
    assert await desk.count("job") == 0


async def test_what_is_rolled_back_was_never_sent(desk: Desk) -> None:
    identity = await desk.identity()
    with suppress(ZeroDivisionError):
        async with desk.session() as (tx, _):
            await jobs.enqueue(tx, [a_job()], store=identity)
            raise ZeroDivisionError
    assert await desk.count("job") == 0


async def test_what_is_committed_was_sent_with_everything_beside_it(desk: Desk) -> None:
    identity = await desk.identity()
    async with desk.session() as (tx, session):
        await jobs.enqueue(tx, [a_job()], store=identity)
        await session.execute(desk.spell("INSERT INTO {queue} (name) VALUES ('beside')"))
    assert (await desk.count("job"), await desk.count("queue")) == (1, 1)


async def test_the_identity_of_a_store_does_not_change(desk: Desk) -> None:
    assert await desk(jobs.store) == await desk.another()(jobs.store)
