"""Slots, queues and timeouts: how many run at once, in which order, and what frees a slot."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from remit import Domain, Job, Remit, Retry, Run, fixed
from remit.db.transaction import Role
from remit.errors import LeaseLost
from remit.runtime.path import watchdog
from tests.runtime.working import all_ended, ended, in_state, opened, until, working


class Yard(Domain[None], handlers="tests.runtime.test_worker_slots"):
    pass


yard = Yard()
narrow = yard.queue("narrow", concurrency=3)
wide = yard.queue("wide", concurrency=20)
single = yard.queue("single", concurrency=1)
latest = yard.queue("latest", concurrency=1, lifo=True)
threads = yard.queue("threads", concurrency=1)
processes = yard.queue("processes", concurrency=1)
ONCE = Retry(attempts=1)


class Narrow(Job[Yard], queue=narrow):
    number: int


class Wide(Job[Yard], queue=wide):
    number: int


class One(Job[Yard], queue=single):
    number: int


class Other(Job[Yard], queue=single):
    number: int


class Latest(Job[Yard], queue=latest):
    number: int


class Sleeper(Job[Yard], queue=single, timeout=0.1, retry=ONCE):
    deaf: bool = False


class Patient(Job[Yard], queue=single, retry=ONCE):
    """Takes as long as it takes, unless a call says otherwise."""

    how: str = "alone"


class PatientInThread(Job[Yard], queue=threads, retry=ONCE):
    gate: str


class Finisher(Job[Yard], queue=single, timeout=0.1, retry=ONCE):
    """Is told to stop, and finishes all the same."""


class Stuck(Job[Yard], queue=threads, timeout=0.1, retry=ONCE):
    gate: str


class InThread(Job[Yard], queue=threads):
    number: int


class InProcess(Job[Yard], queue=processes, timeout=3.0, retry=Retry(attempts=2, backoff=fixed(0.01))):
    folder: str
    forever: bool


class Impatient(Job[Yard], queue=processes, timeout=0.001, retry=ONCE):
    """Has no time at all, once its process is ready."""

    folder: str


class State:
    """What the handlers below share with the test."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.order: list[int] = []
        self.late: list[object] = []
        self.gate = asyncio.Event()


state = State()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    state.__init__()  # type: ignore[misc]
    monkeypatch.setattr(watchdog, "GRACE_AFTER_CANCEL", 0.1)
    yield
    state.gate.set()


async def counted(number: int) -> None:
    state.running += 1
    state.most = max(state.most, state.running)
    state.order.append(number)
    try:
        await state.gate.wait()
    finally:
        state.running -= 1


@yard.handles(Narrow)
async def narrow_handler(job: Narrow, run: Run[Yard]) -> None:
    await counted(job.number)


@yard.handles(Wide)
async def wide_handler(job: Wide, run: Run[Yard]) -> None:
    state.order.append(job.number)


@yard.handles(One)
async def one(job: One, run: Run[Yard]) -> None:
    state.order.append(job.number)


@yard.handles(Other)
async def other(job: Other, run: Run[Yard]) -> None:
    state.order.append(job.number)


@yard.handles(Latest)
async def latest_handler(job: Latest, run: Run[Yard]) -> None:
    state.order.append(job.number)


@yard.handles(Sleeper)
async def sleeper(job: Sleeper, run: Run[Yard]) -> str:
    while not state.gate.is_set():
        try:
            await state.gate.wait()
        except asyncio.CancelledError:
            if not job.deaf:
                raise
    try:
        await run.complete("late")
    except LeaseLost as error:
        state.late.append(error)
        raise
    return "late"


async def rests() -> None:
    await state.gate.wait()


@yard.handles(Patient)
async def patient(job: Patient, run: Run[Yard]) -> None:
    match job.how:
        case "sends":
            run.enqueue(Patient(), timeout=0.05)
        case "task":
            await asyncio.create_task(rests())
        case "cleaning":
            try:
                await rests()
            finally:
                raise ValueError("while it cleaned up")
        case _:
            await rests()


@yard.handles(PatientInThread)
def patient_in_thread(job: PatientInThread, run: Run[Yard]) -> None:
    waits_for(Path(job.gate))


def waits_for(gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.005)


@yard.handles(Finisher)
async def finisher(job: Finisher, run: Run[Yard]) -> str:
    try:
        await state.gate.wait()
    except asyncio.CancelledError:
        assert run.cancelled
    return "in the end"


@yard.handles(Stuck)
def stuck(job: Stuck, run: Run[Yard]) -> str:
    while not Path(job.gate).exists():
        time.sleep(0.005)
    try:
        with run.sync.transaction():
            pass
    except LeaseLost as error:
        state.late.append(error)
    return "late"


@yard.handles(InThread)
def in_thread(job: InThread, run: Run[Yard]) -> str:
    return threading.current_thread().name


@yard.handles(InProcess, mode="process")
def in_process(job: InProcess, run: Run[Yard]) -> int:
    Path(job.folder, f"started-{run.attempt}").write_text(str(os.getpid()))
    run.log.info("in process %s", run.attempt)
    while job.forever:
        pass
    return os.getpid()


@yard.handles(Impatient, mode="process")
def impatient(job: Impatient, run: Run[Yard]) -> None:
    Path(job.folder, "started").touch()
    time.sleep(20)
    Path(job.folder, "ended").touch()


async def test_no_queue_runs_more_at_once_than_its_slots(store_url: str) -> None:
    async with working(store_url, yard) as (app, _):
        refs = await yard.enqueue_many([Narrow(number=n) for n in range(12)])
        await until(lambda: state.running == 3)
        unheld = await yard.enqueue_many([Wide(number=n) for n in range(100, 140)])
        await all_ended(app, *unheld)
        assert state.running == 3, "a full queue holds no other back"
        state.gate.set()
        await all_ended(app, *refs)
    assert state.most == 3


async def test_the_best_priority_goes_first_and_equals_in_the_order_of_arrival(store_url: str) -> None:
    async with opened(store_url, yard) as app:
        refs = []
        for number, priority in enumerate([5, 0, -5, 0, 5, -5]):
            refs.append(await yard.enqueue(One(number=number), priority=priority))
        async with app.worker():
            await all_ended(app, *refs)
    assert state.order == [2, 5, 1, 3, 0, 4]


async def test_priorities_hold_between_the_jobs_of_a_queue(store_url: str) -> None:
    async with opened(store_url, yard) as app:
        refs = [await yard.enqueue(One(number=n), priority=1) for n in range(3)]
        refs += [await yard.enqueue(Other(number=n), priority=0) for n in range(10, 13)]
        refs += [await yard.enqueue(One(number=n), priority=-1) for n in range(20, 23)]
        async with app.worker():
            await all_ended(app, *refs)
    assert state.order == [20, 21, 22, 10, 11, 12, 0, 1, 2]


async def test_a_lifo_queue_runs_the_newest_first(store_url: str) -> None:
    async with opened(store_url, yard) as app:
        refs = [await yard.enqueue(Latest(number=n)) for n in range(6)]
        refs.append(await yard.enqueue(Latest(number=6), priority=-1))
        async with app.worker():
            await all_ended(app, *refs)
    assert state.order == [6, 5, 4, 3, 2, 1, 0]


async def test_several_workers_share_the_work(store_url: str) -> None:
    async with opened(store_url, yard) as app, app.worker() as first, app.worker() as second:
        refs = await yard.enqueue_many([Narrow(number=n) for n in range(6)])
        await until(lambda: state.running == 6)
        holders = {(await app.jobs.get(ref.id)).worker for ref in refs}
        assert holders == {first.id, second.id}
        state.gate.set()
        await all_ended(app, *refs)
        assert len(await app.workers.list()) == 2
        assert [leader.holder in holders for leader in await app.workers.leaders()] == [True]


async def test_a_paused_queue_is_not_claimed_and_a_resumed_one_is(store_url: str) -> None:
    async with working(store_url, yard) as (app, _):
        await app.queues.pause("yard.single", by="ops")
        held = await yard.enqueue(One(number=1))
        passing = await yard.enqueue(Wide(number=2))
        await ended(app, passing)
        assert (await app.jobs.get(held.id)).state == "ready"
        await app.queues.resume("yard.single")
        await ended(app, held)


async def test_a_timeout_cancels_an_async_handler_and_frees_its_slot(store_url: str) -> None:
    async with working(store_url, yard) as (app, _):
        slow, next_ = await yard.enqueue_many([Sleeper(), One(number=1)])
        record = await ended(app, slow)
        assert (await ended(app, next_)).state == "completed"
    assert record.state == "dead"
    assert [error.kind for error in record.errors] == ["TimeoutError"]
    assert "longer than its timeout of 0.1 s" in record.errors[0].message


@pytest.mark.parametrize("how", ["alone", "task"])
async def test_the_failure_of_a_timeout_tells_where_the_run_stood(store_url: str, how: str) -> None:
    async with working(store_url, yard) as (app, _):
        record = await ended(app, await yard.enqueue(Patient(how=how), timeout=0.05))
    [error] = record.errors
    assert (error.kind, error.message) == ("TimeoutError", "the run took longer than its timeout of 0.05 s")
    text = error.traceback or ""
    assert "It stood here when its time was up" in text
    assert text.index("in patient") < text.index("in rests") < text.index("await state.gate.wait()")


async def test_the_failure_of_a_timeout_tells_where_a_thread_stood(store_url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with working(store_url, yard) as (app, _):
        record = await ended(app, await yard.enqueue(PatientInThread(gate=str(gate)), timeout=0.05))
        gate.touch()
    text = record.errors[0].traceback or ""
    assert "It stood here when its time was up" in text
    assert text.index("in patient_in_thread") < text.index("in waits_for")
    assert "remit/runtime/" not in text.replace("tests/runtime/", "")


async def test_the_failure_of_a_timeout_tells_what_the_handler_raised_then(store_url: str) -> None:
    async with working(store_url, yard) as (app, _):
        record = await ended(app, await yard.enqueue(Patient(how="cleaning"), timeout=0.05))
    [error] = record.errors
    assert error.kind == "TimeoutError"
    assert "ValueError: while it cleaned up" in (error.traceback or "")


async def test_a_call_may_give_its_job_less_time_or_more(store_url: str) -> None:
    async with working(store_url, yard) as (app, worker):
        parent = await yard.enqueue(Patient(how="sends"))
        assert (await ended(app, parent)).state == "completed"
        [child] = [job for job in (await app.jobs.list(job="yard.patient")).jobs if job.causation]
        await until(lambda: worker.telemetry.counts["dead"] == 1, "what a run sends has its timeout too")
        assert (await app.jobs.get(child.id)).errors[0].kind == "TimeoutError"
        unlimited = await yard.enqueue(Sleeper(), timeout=math.inf)
        await in_state(app, unlimited, "running")
        assert [run.deadline for run in worker.parts.executor.active.values()] == [0.0], "no watchdog waits for it"
        state.gate.set()
        assert (await ended(app, unlimited)).result == "late"


async def test_a_handler_that_ends_although_its_time_is_up_is_complete(store_url: str) -> None:
    async with working(store_url, yard) as (app, _):
        record = await ended(app, await yard.enqueue(Finisher()))
    assert (record.state, record.result) == ("completed", "in the end")


async def test_a_handler_that_swallows_its_cancellation_is_given_up_and_its_late_outcome_refused(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(store_url, yard) as (app, worker):
        deaf, next_ = await yard.enqueue_many([Sleeper(deaf=True), One(number=1)])
        record = await ended(app, deaf)
        assert (await ended(app, next_)).state == "completed", "its slot was replaced"
        assert "run given up, it swallowed its cancellation and goes on: yard." in caplog.text
        assert "thread" not in caplog.text
        state.gate.set()
        await until(lambda: worker.telemetry.counts["late"] == 1)
        assert (await app.jobs.get(deaf.id)).state == "dead"
    assert [error.kind for error in record.errors] == ["TimeoutError"]
    assert len(state.late) == 1
    assert "late outcome refused: yard.sleeper" in caplog.text


async def suspect_all(app: Remit) -> None:
    """As a rescue leaves them."""
    table = "remit_job" if app.store.dialect == "sqlite" else "remit.job"
    async with app.store.database(Role.HANDLER).session() as session:
        await session.execute(f"UPDATE {table} SET suspect = 1")


async def test_suspects_that_wait_for_their_turn_take_no_slot(store_url: str) -> None:
    """Each may run for days: what did no harm must not wait for them."""
    async with opened(store_url, yard) as app:
        suspects = await yard.enqueue_many([Narrow(number=n) for n in range(5)])
        await suspect_all(app)
        async with app.worker():
            await until(lambda: state.running == 1, "the first suspect runs")
            others = await yard.enqueue_many([Narrow(number=n) for n in (10, 11)])
            await until(lambda: state.running == 3, "the others run beside it")
            assert state.order == [0, 10, 11]
            waiting = [job for job in (await app.jobs.list(state="ready")).jobs if job.suspect]
            assert {job.id for job in waiting} == {ref.id for ref in suspects[1:]}
            state.gate.set()
            records = await all_ended(app, *suspects, *others)
    assert {(record.state, record.failures) for record in records} == {("completed", 0)}
    assert sorted(state.order) == [0, 1, 2, 3, 4, 10, 11]


async def test_workers_share_suspects_one_each(store_url: str) -> None:
    async with opened(store_url, yard) as app:
        suspects = await yard.enqueue_many([Narrow(number=n) for n in range(5)])
        await suspect_all(app)
        async with app.worker(), app.worker():
            await until(lambda: state.running == 2, "each worker runs one")
            state.gate.set()
            records = await all_ended(app, *suspects)
    assert state.most == 2
    assert {(record.state, record.failures) for record in records} == {("completed", 0)}


async def test_a_suspect_that_is_given_up_lets_the_next_one_run(store_url: str) -> None:
    async with opened(store_url, yard) as app:
        deaf = await yard.enqueue(Sleeper(deaf=True))
        next_ = await yard.enqueue(Wide(number=1))
        await suspect_all(app)
        await app.queues.pause("yard.wide")
        async with app.worker():
            await ended(app, deaf)
            await app.queues.resume("yard.wide")
            assert (await ended(app, next_)).state == "completed"
            state.gate.set()


async def test_a_thread_that_runs_out_of_time_is_left_behind_and_its_late_outcome_refused(
    store_url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with working(store_url, yard) as (app, _):
        slow, next_ = await yard.enqueue_many([Stuck(gate=str(gate)), InThread(number=1)])
        record = await ended(app, slow)
        assert (await ended(app, next_)).state == "completed", "its slot was replaced"
        assert "its thread cannot be stopped: yard.stuck" in caplog.text
        gate.touch()
        await until(lambda: len(state.late) == 1, "its transaction is refused")
        assert (await app.jobs.get(slow.id)).state == "dead"
    assert [error.kind for error in record.errors] == ["TimeoutError"]


async def test_a_timeout_kills_the_process_of_a_handler(store_url: str, tmp_path: Path) -> None:
    async with working(store_url, yard) as (app, _):
        record = await ended(app, await yard.enqueue(InProcess(folder=str(tmp_path), forever=True), attempts=1))
        pid = int((tmp_path / "started-1").read_text())
        await until(lambda: not psutil.pid_exists(pid))
        after = await ended(app, await yard.enqueue(InProcess(folder=str(tmp_path), forever=False)))
    assert [error.kind for error in record.errors] == ["TimeoutError"]
    assert (after.state, after.result != pid) == ("completed", True)


async def test_a_timeout_as_soon_as_the_process_is_ready_kills_it_too(store_url: str, tmp_path: Path) -> None:
    async with working(store_url, yard) as (app, worker):
        record = await ended(app, await yard.enqueue(Impatient(folder=str(tmp_path))))
        assert [error.kind for error in record.errors] == ["TimeoutError"]
        children = psutil.Process().children()
        await until(
            lambda: not any("remit.runtime.handlers.child" in " ".join(child.cmdline()) for child in alive(children))
        )
        after = await ended(app, await yard.enqueue(InProcess(folder=str(tmp_path), forever=False)))
        assert worker.telemetry.counts["late"] == 0
    assert after.state == "completed"


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


async def test_a_process_is_kept_for_the_next_job_and_its_log_lines_come_back(store_url: str, tmp_path: Path) -> None:
    async with working(store_url, yard) as (app, _):
        refs = [await yard.enqueue(InProcess(folder=str(tmp_path), forever=False)) for _ in range(3)]
        pids = {(await ended(app, ref)).result for ref in refs}
        assert len(pids) == 1

        async def logged() -> bool:
            return [line.message for line in (await app.jobs.get(refs[0].id)).logs] == ["in process 1"]

        await until(logged)


async def test_a_stopped_worker_gives_back_what_it_has_not_ended(store_url: str) -> None:
    async with opened(store_url, yard, grace=0.1) as app:
        async with app.worker() as worker:
            refs = await yard.enqueue_many([Narrow(number=n) for n in range(5)])
            await until(lambda: state.running == 3)
            await in_state(app, refs[0], "running")
            await worker.stop()
        records = [await app.jobs.get(ref.id) for ref in refs]
        assert {(record.state, record.failures) for record in records} == {("ready", 0)}
        assert await app.workers.list() == []
