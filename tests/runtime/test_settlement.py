"""What must follow whenever a run ends, however it ends: the claim is dropped, the end counted, the lane advances, what
the run sends is sent or is not, and what it logged is kept.

Each way of ending is that of a delivery to an ordered subscription, with another one behind it. The sweep through all
lanes, which covers up for a lane that nobody advanced, comes once an hour here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from remit import Event, JobRecord, JobRef, Remit
from remit.db import fallbacks
from remit.db.transaction import Role
from remit.jobs.ids import new_id
from remit.outbox import operations as outbox
from remit.runtime.duties.rescuer import Rescuer
from remit.runtime.path import watchdog
from remit.runtime.path.reconciler import Reconciler
from tests.runtime.canal import SHORT, TABLE, Canal, End, Glimpsed, Hidden, Note, Passed, canal, shared
from tests.runtime.working import ended, opened, until


@pytest.fixture(autouse=True)
async def _fresh(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    shared.__init__()  # type: ignore[misc]
    monkeypatch.setattr(watchdog, "GRACE_AFTER_CANCEL", SHORT)
    monkeypatch.setattr(fallbacks, "SEQUENCER", 3600.0)
    yield
    shared.gate.set()
    shared.thread_gate.set()


async def deliveries(app: Remit, ids: list[str]) -> list[JobRecord]:
    """The deliveries of events, each to its one subscription, once all have ended."""
    found: list[JobRecord] = []
    for id in ids:

        async def delivered(id: str = id) -> str | None:
            return next((each.job for each in (await app.events.get(id)).records), None)

        job = await until(delivered, f"the lane of {id} advances")
        assert job is not None
        found.append(await ended(app, JobRef(job)))
    return found


async def final(app: Remit) -> dict[str, int]:
    """How many jobs have ended in each state."""
    sql = f"SELECT state, count(*) FROM {table_of(app, 'job')} WHERE finished_at IS NOT NULL GROUP BY state"
    async with app.store.database(Role.HANDLER).session() as session:
        return dict(await session.execute(sql))  # type: ignore[arg-type]


async def test_whatever_ends_a_run_what_must_follow_follows(store_url: str) -> None:
    wanted = {f"{by}:{way}": end for by, ways in TABLE.items() for way, end in ways.items()}
    async with opened(store_url, canal) as app:
        async with app.worker() as worker:
            events = [
                Passed(key=f"{by}:{way}", by=by, way=way, n=n, url=store_url)
                for by, ways in TABLE.items()
                for way in ways
                for n in (1, 2)
            ]
            sent = await canal.publish_many(events)
            refs = {(event.key, event.n): ref.id for event, ref in zip(events, sent, strict=True)}
            await cancel(app, refs["async:cancelled", 1])
            second = await deliveries(app, [refs[key, 2] for key in wanted])
            assert {(each.state, each.failures) for each in second} == {("completed", 0)}
            await until(lambda: not worker.claims.ledger.busy, "every claim is dropped")
        first = await deliveries(app, [refs[key, 1] for key in wanted])
        found = dict(zip(wanted, [await as_it_ended(app, record) for record in first], strict=True))
        assert found == wanted
        kinds = {key: [error.kind for error in record.errors] for key, record in zip(wanted, first, strict=True)}
        assert kinds["async:complete-tx-rolled-back"] == ["CompletionRolledBack"]
        assert kinds["async:complete-tx-rolled-back-and-raise"] == ["ValueError"], "the run has an outcome of its own"
        counts, expected = worker.telemetry.counts, await final(app)
    assert counts["lease_lost"] == 1, "the process that committed and died: its worker is refused"
    assert {state: counts[state] for state in expected} == {**expected, "completed": expected["completed"] - 1}


async def as_it_ended(app: Remit, record: JobRecord) -> End:
    notes = (await app.jobs.list(job="canal.note", limit=1000)).jobs
    sent = sorted(each.payload["attempt"] for each in notes if each.causation == record.id)
    logged = sorted(int(line.message) for line in (await app.jobs.get(record.id)).logs)
    return End(record.state, record.failures, tuple(sent), tuple(logged))


async def cancel(app: Remit, event: str) -> None:
    """Cancel the delivery while it runs."""

    async def running() -> str | None:
        return next((each.job for each in (await app.events.get(event)).records if each.state == "running"), None)

    job = await until(running, "it runs")
    assert job is not None
    await app.jobs.cancel(job)
    shared.cancelled.set()


# --- ends that the worker brings about, or others


def held(way: str, url: str) -> list[Passed]:
    return [Passed(key=way, by="held", way=way, n=n, url=url) for n in (1, 2)]


async def test_a_completion_that_is_committed_after_the_lease_was_lost_advances_its_lane(store_url: str) -> None:
    async with opened(store_url, canal) as app, app.worker() as worker:
        refs = await canal.publish_many(held("complete-tx", store_url))
        await until(lambda: shared.left and not worker.parts.executor.active, "it is completed, in an open transaction")
        life = worker.id
        worker.lose("so says the test")
        shared.left[0].commit()
        shared.left[0].close()
        await until(lambda: worker.id != life)
        records = await deliveries(app, [ref.id for ref in refs])
        assert [(each.state, each.failures) for each in records] == [("completed", 0)] * 2
        assert (await as_it_ended(app, records[0])).sent == (1,)
        assert worker.telemetry.counts["completed"] >= 2
        assert worker.telemetry.counts["lease_lost"] == 0


async def test_a_completion_that_is_rolled_back_after_the_lease_was_lost_charges_nothing(store_url: str) -> None:
    """Its run is over with the lease: the job is rescued, as every other that the worker held."""
    async with opened(store_url, canal) as app, app.worker() as worker:
        refs = await canal.publish_many(held("complete-tx", store_url))
        await until(lambda: shared.left and not worker.parts.executor.active, "it is completed, in an open transaction")
        life = worker.id
        worker.lose("so says the test")
        shared.left[0].rollback()
        shared.left[0].close()
        await until(lambda: worker.id != life)
        await worker.parts.prober.settled()
        await worker.parts.completer.flushed()
        await forget_worker(app, life)
        worker.parts.get(Rescuer).wake()
        records = await deliveries(app, [ref.id for ref in refs])
        assert [(each.state, each.failures) for each in records] == [("completed", 0)] * 2
        assert (await as_it_ended(app, records[0])).sent == ()


async def test_a_run_that_is_fenced_is_dropped_and_runs_again_with_its_lane_behind_it(store_url: str) -> None:
    async with opened(store_url, canal) as app, app.worker() as worker:
        refs = await canal.publish_many(held("fenced", store_url))
        await until(lambda: shared.begun)
        life = worker.id
        worker.lose("so says the test")
        await until(lambda: worker.id != life and not worker.parts.executor.active)
        assert len(worker.claims.ledger) == 0
        await forget_worker(app, life)
        worker.parts.get(Rescuer).wake()
        records = await deliveries(app, [ref.id for ref in refs])
        assert [(each.state, each.failures) for each in records] == [("completed", 0)] * 2
        assert (await as_it_ended(app, records[0])).sent == ()
        assert worker.telemetry.counts["completed"] == 2


async def test_a_run_that_a_shutdown_interrupts_goes_back_and_its_lane_waits_for_it(store_url: str) -> None:
    async with opened(store_url, canal, grace=0.05) as app:
        async with app.worker() as worker:
            refs = await canal.publish_many(held("shutdown", store_url))
            await until(lambda: shared.begun)
        assert not worker.claims.ledger.busy
        assert worker.telemetry.counts["ready"] == 1
        async with app.worker():
            records = await deliveries(app, [ref.id for ref in refs])
            assert [(each.state, each.failures) for each in records] == [("completed", 0)] * 2
            assert (await as_it_ended(app, records[0])).sent == ()


async def forget_worker(app: Remit, worker: str) -> None:
    """As the leader does with a worker that is silent; a sweep of its rescuer then finds the jobs."""
    async with app.store.database(Role.HANDLER).session() as session:
        await session.execute(f"DELETE FROM {table_of(app, 'worker')} WHERE id = '{worker}'")


async def released(app: Remit, *events: Event[Canal]) -> list[str]:
    """Publish events, and make the jobs of the first of each lane, as the relay and the sequencer do."""
    ids = [ref.id for ref in await canal.publish_many(events)]
    database = app.store.database(Role.RELAY)
    lanes = (await database.run(lambda tx: outbox.dispatch(tx, limit=100, keep=3600.0))).lanes
    await database.run(lambda tx: outbox.release(tx, lanes))
    await database.close()
    return ids


def table_of(app: Remit, name: str) -> str:
    return f"remit_{name}" if app.store.dialect == "sqlite" else f"remit.{name}"


async def change(app: Remit, job: str, assignments: str) -> None:
    async with app.store.database(Role.HANDLER).session() as session:
        await session.execute(f"UPDATE {table_of(app, 'job')} SET {assignments} WHERE id = '{job}'")


async def first_job(app: Remit, event: str) -> str:
    [delivery] = (await app.events.get(event)).records
    assert delivery.job is not None
    return delivery.job


async def test_a_delivery_that_expires_or_is_not_wanted_advances_its_lane(store_url: str) -> None:
    async with opened(store_url, canal) as app:
        fleeting = await released(app, *(Hidden(key="a", n=n) for n in (1, 2)))
        picky = await released(app, *(Glimpsed(key="b", n=n) for n in (1, 2)))
        async with app.worker() as worker:
            ends = [(each.state, each.reason) for each in await deliveries(app, fleeting + picky)]
        expired = ("cancelled", "expired before its first run")
        assert ends == [expired, expired, ("skipped", "its where= does not want this event"), ("completed", None)]
        assert (worker.telemetry.counts["cancelled"], worker.telemetry.counts["skipped"]) == (2, 1)


async def test_a_suspect_that_ends_advances_its_lane_and_makes_room_for_the_next_suspect(store_url: str) -> None:
    async with opened(store_url, canal) as app:
        lanes = [[Passed(key=key, by="async", way="return", n=n, url=store_url) for n in (1, 2)] for key in "abc"]
        ids = await released(app, *(event for lane in lanes for event in lane))
        for first in ids[::2]:
            await change(app, await first_job(app, first), "suspect = 1")
        async with app.worker() as worker:
            records = await deliveries(app, ids)
            await until(lambda: not worker.claims.ledger.busy)
            assert worker.claims.ledger.suspect is None
        assert [(each.state, each.failures) for each in records] == [("completed", 0)] * 6
        assert (await as_it_ended(app, records[0])).sent == (1,)


async def test_a_delivery_that_the_rescuer_ends_advances_its_lane(store_url: str) -> None:
    """It killed its worker once too often."""
    async with opened(store_url, canal) as app:
        ids = await released(app, *held("return", store_url))
        gone = f"state = 'running', worker = '{new_id()}', suspect = 2, failures = 1, claimed_at = run_at"
        await change(app, await first_job(app, ids[0]), gone)
        async with app.worker():
            records = await deliveries(app, ids)
        assert [(each.state, each.failures) for each in records] == [("dead", 2), ("completed", 0)]


async def test_a_stray_is_given_back_at_no_cost_and_one_that_was_cancelled_ends(store_url: str) -> None:
    """The claim committed, and its reply was lost: the row names this worker, which does not hold it."""
    async with opened(store_url, canal, lease=3600.0) as app, app.worker() as worker:
        await app.queues.pause("canal.basin")
        lanes = [[Passed(key=key, by="async", way="return", n=n, url=store_url) for n in (1, 2)] for key in "ab"]
        ids = [ref.id for ref in await canal.publish_many([event for lane in lanes for event in lane])]

        async def jobs() -> list[str] | None:
            found = [each.job for n in (0, 2) for each in (await app.events.get(ids[n])).records if each.job]
            return found if len(found) == 2 else None

        [stray, over] = await until(jobs, "the first of each lane is released") or []
        claimed = f"state = 'running', worker = '{worker.id}', token = 5, claimed_at = run_at"
        await change(app, stray, claimed)
        await change(app, over, f"{claimed}, cancel_at = run_at")
        worker.parts.get(Reconciler).wake()
        await until(lambda: worker.telemetry.counts["reconciled"] == 2)
        assert [(await app.jobs.get(job)).state for job in (stray, over)] == ["ready", "cancelled"]
        await app.queues.resume("canal.basin")
        records = await deliveries(app, ids)
        assert [each.state for each in records] == ["completed", "completed", "cancelled", "completed"]
        assert {each.failures for each in records} == {0}


async def test_a_claim_whose_reply_is_under_way_is_no_stray(store_url: str) -> None:
    async with opened(store_url, canal, lease=3600.0) as app, app.worker() as worker:
        await app.queues.pause("canal.basin")
        ref = await canal.enqueue(Note(key="a", attempt=1))
        with worker.claims.ledger.claiming() as token:
            await change(
                app, ref.id, f"state = 'running', worker = '{worker.id}', token = {token}, claimed_at = run_at"
            )
            rounds = worker.parts.get(Reconciler).rounds
            worker.parts.get(Reconciler).wake()
            await until(lambda: worker.parts.get(Reconciler).rounds > rounds)
            assert (await app.jobs.get(ref.id)).state == "running"
        worker.parts.get(Reconciler).wake()
        await until(lambda: worker.telemetry.counts["reconciled"] == 1, "nobody asks for it any more")
        await app.queues.resume("canal.basin")
        assert (await ended(app, ref)).failures == 0
