"""Workers whose fallbacks are an hour: each sleep ends by its signal, or the test waits in vain.

Fallbacks are not the only times that could hide a lost signal. So the lease is an hour too: the leader, the rescuer and
the reconciler act once, at the start.
"""

from __future__ import annotations

import ast
import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import remit
from remit import Domain, Event, Job, JobRef, Remit, Retry, RetryAfter, Run, Snooze, fixed
from remit.db import fallbacks
from remit.db.transaction import Role
from remit.runtime.duties.relay import Relay
from remit.runtime.loop import Loop
from remit.runtime.path import ledger as ledgers
from remit.runtime.worker import Worker
from tests.runtime.canal import complete
from tests.runtime.working import all_ended, ended, in_state, opened, until

HOUR = 3600.0
FALLBACKS = sorted(name for name in vars(fallbacks) if name.isupper())


class Beacon(Domain[None], handlers="tests.liveness.test_signals"):
    pass


beacon = Beacon()
single = beacon.queue("single", concurrency=1)
double = beacon.queue("double", concurrency=2)
wide = beacon.queue("wide", concurrency=10)


class One(Job[Beacon], queue=single):
    how: str = "return"


class Two(Job[Beacon], queue=double):
    how: str = "return"


class Wide(Job[Beacon], queue=wide, retry=Retry(attempts=2, backoff=fixed(0.05))):
    how: str = "return"


class InThread(Job[Beacon], queue=double):
    pass


class Lit(Event[Beacon]):
    number: int


class Flickered(Event[Beacon]):
    number: int


class Signalled(Event[Beacon], ordered_by="key"):
    key: str
    number: int
    how: str
    url: str


class Shared:
    """What the handlers share with the test."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.let_go = asyncio.Event()
        self.running: list[str] = []
        self.started: list[str] = []
        self.delivered: list[int] = []
        self.again: set[str] = set()


shared = Shared()


async def behave(how: str, run: Run[Beacon]) -> None:
    shared.started.append(how)
    shared.running.append(how)
    try:
        await _end(how, run)
    finally:
        shared.running.remove(how)


async def _end(how: str, run: Run[Beacon]) -> None:
    first = run.job_id not in shared.again
    shared.again.add(run.job_id)
    match how:
        case "wait":
            await shared.gate.wait()
        case "wait-deaf":
            while not shared.let_go.is_set():
                try:
                    await shared.let_go.wait()
                except asyncio.CancelledError:
                    continue
        case "hang":
            await asyncio.sleep(HOUR)
        case "send":
            run.enqueue(One())
        case "raise" if first:
            raise ValueError("the first time")
        case "raise-always":
            raise ValueError("each time")
        case "snooze" if first:
            raise Snooze(0.05)
        case "retry-after" if first:
            raise RetryAfter(0.05, "later")
        case _:
            pass


@beacon.handles(One)
async def one(job: One, run: Run[Beacon]) -> None:
    await behave(job.how, run)


@beacon.handles(Two)
async def two(job: Two, run: Run[Beacon]) -> None:
    await behave(job.how, run)


@beacon.handles(Wide)
async def on_wide(job: Wide, run: Run[Beacon]) -> None:
    await behave(job.how, run)


@beacon.handles(InThread)
def in_thread(job: InThread, run: Run[Beacon]) -> None:
    pass


@beacon.on(Lit, name="see", queue=wide)
async def see(event: Lit, run: Run[Beacon]) -> None:
    shared.delivered.append(event.number)


@beacon.on(Flickered, name="see-once", queue=wide, where={"number": 1})
async def see_once(event: Flickered, run: Run[Beacon]) -> None:
    shared.delivered.append(event.number)


@beacon.on(Signalled, name="answer", queue=wide, ordered_by="key", retry=Retry(attempts=2, backoff=fixed(0.01)))
async def answer(event: Signalled, run: Run[Beacon]) -> None:
    if event.how == "transaction":
        async with run.transaction():
            pass
    elif event.how == "complete-tx":
        await complete(event.url, run, commit=True)
    elif event.how == "raise" and run.attempt == 1:
        raise ValueError("the first time")
    shared.delivered.append(event.number)


class Sleepers:
    """Which parts sleep for longer than a test may take, and how often each has begun to."""

    def __init__(self) -> None:
        self.now: set[Loop] = set()
        self.times: dict[Loop, int] = defaultdict(int)

    def observe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sleep = Loop.sleep

        async def observed(loop: Loop, seconds: float) -> None:
            if seconds >= HOUR / 2 and not loop.is_woken:
                self.now.add(loop)
                self.times[loop] += 1
            try:
                await sleep(loop, seconds)
            finally:
                self.now.discard(loop)

        monkeypatch.setattr(Loop, "sleep", observed)

    async def await_idle(self, *workers: Worker) -> None:
        """Wait until both parts that share the wakeup sleep on it, in one of these workers.

        On PostgreSQL one worker at a time sleeps on the wakeup; the others look for themselves.
        """
        await until(
            lambda: any({worker.parts.producer, worker.parts.get(Relay)} <= self.now for worker in workers),
            "a worker sleeps on its wakeup",
        )


@pytest.fixture(autouse=True)
async def _fresh() -> AsyncIterator[None]:
    shared.__init__()  # type: ignore[misc]
    yield
    shared.gate.set()
    shared.let_go.set()


@pytest.fixture(autouse=True)
def sleepers(monkeypatch: pytest.MonkeyPatch) -> Sleepers:
    """Every fallback is an hour."""
    for name in FALLBACKS:
        monkeypatch.setattr(fallbacks, name, HOUR)
    observer = Sleepers()
    observer.observe(monkeypatch)
    return observer


@asynccontextmanager
async def working(url: str, sleepers: Sleepers) -> AsyncIterator[tuple[Remit, Worker]]:
    """An application and its worker, once it has nothing to do."""
    async with opened(url, beacon) as app, app.worker(lease=HOUR) as worker:
        await sleepers.await_idle(worker)
        yield app, worker


async def change(app: Remit, table: str, change: str) -> None:
    """A person's hand in the database: nothing rings on PostgreSQL."""
    whole = f"remit_{table}" if app.store.dialect == "sqlite" else f"remit.{table}"
    async with app.store.database(Role.HANDLER).session() as session:
        await session.execute(f"UPDATE {whole} SET {change}")


async def all_complete(app: Remit, *refs: JobRef) -> None:
    assert {record.state for record in await all_ended(app, *refs)} <= {"completed"}


# --- the producer


async def test_jobs_that_come_while_a_worker_is_idle_are_run(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (app, worker):
        for _ in range(5):
            await all_complete(app, await beacon.enqueue(One()))
            await sleepers.await_idle(worker)


@pytest.mark.parametrize("job", [One, Two, Wide, InThread])
async def test_a_backlog_larger_than_the_slots_is_run_to_its_end(
    store_url: str, sleepers: Sleepers, job: type[Job[Beacon]]
) -> None:
    async with opened(store_url, beacon) as app:
        refs = await beacon.enqueue_many([job() for _ in range(150)])
        async with app.worker(lease=HOUR):
            await all_complete(app, *refs)


async def test_a_job_that_came_while_all_slots_were_busy_is_run_when_one_is_free(
    store_url: str, sleepers: Sleepers
) -> None:
    async with working(store_url, sleepers) as (app, worker):
        for _ in range(3):
            refs = [await beacon.enqueue(One(how="wait"))]
            await until(lambda: shared.running, "the slot is busy")
            await until(lambda: worker.parts.producer in sleepers.now, "the producer has taken all there was")
            slept = sleepers.times[worker.parts.producer]
            refs.append(await beacon.enqueue(One()))
            await until(
                lambda: sleepers.times[worker.parts.producer] > slept and worker.parts.producer in sleepers.now,  # noqa: B023
                "the producer was woken, and refused by the prefetch",
            )
            shared.gate.set()
            await all_complete(app, *refs)
            shared.gate = asyncio.Event()


async def test_a_job_that_waits_for_a_slot_is_run_though_another_queue_has_room(
    store_url: str, sleepers: Sleepers
) -> None:
    async with working(store_url, sleepers) as (app, worker):
        refs = [await beacon.enqueue(One(how="wait"))]
        await until(lambda: shared.running, "the slot is busy")
        refs += [await beacon.enqueue(One()), await beacon.enqueue(Two())]
        await all_complete(app, refs[-1])
        await sleepers.await_idle(worker)
        shared.gate.set()
        await all_complete(app, *refs)


async def test_a_ledger_that_was_full_takes_more_when_a_job_has_ended(
    store_url: str, sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MOST_HELD", 3)
    async with working(store_url, sleepers) as (app, worker):
        refs = await beacon.enqueue_many([Wide(how="wait") for _ in range(3)])
        await until(lambda: len(shared.running) == 3, "the ledger is full")
        refs += await beacon.enqueue_many([Wide() for _ in range(20)])
        await until(lambda: worker.parts.producer in sleepers.now, "the producer was refused by the ledger")
        shared.gate.set()
        await all_complete(app, *refs)


async def test_a_worker_that_lost_its_lease_runs_new_jobs(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (app, worker):
        ledger = worker.claims.ledger
        worker.lose("so says the test")
        ref = await beacon.enqueue(Two())
        await until(lambda: worker.claims.ledger is not ledger, "it lives again")
        await all_complete(app, ref, await beacon.enqueue(Two()))


# --- suspects


async def test_a_suspect_is_run_when_the_one_before_it_has_ended(store_url: str, sleepers: Sleepers) -> None:
    async with opened(store_url, beacon) as app:
        refs = await beacon.enqueue_many([Wide(how="wait") for _ in range(4)])
        await change(app, "job", "suspect = 1 WHERE state = 'ready'")
        async with app.worker(lease=HOUR) as worker:
            await until(lambda: shared.running, "the first one runs")
            await sleepers.await_idle(worker)
            assert len(shared.running) == 1
            shared.gate.set()
            await all_complete(app, *refs)


async def test_a_suspect_is_run_when_the_one_of_a_lost_lease_has_ended(store_url: str, sleepers: Sleepers) -> None:
    async with opened(store_url, beacon) as app:
        await beacon.enqueue(Wide(how="wait-deaf"))
        await change(app, "job", "suspect = 1 WHERE state = 'ready'")
        async with app.worker(lease=HOUR) as worker:
            await until(lambda: shared.running, "the first one runs")
            ledger = worker.claims.ledger
            worker.lose("so says the test")
            await until(lambda: worker.claims.ledger is not ledger, "it lives again")
            await app.queues.pause("beacon.wide")
            ref = await beacon.enqueue(Wide())
            await change(app, "job", "suspect = 1 WHERE state = 'ready'")
            await app.queues.resume("beacon.wide")
            await sleepers.await_idle(worker)
            assert shared.started == ["wait-deaf"]
            shared.let_go.set()
            await all_complete(app, ref)


# --- events


async def test_events_that_come_while_a_worker_is_idle_are_delivered(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (_, worker):
        for number in range(5):
            await beacon.publish(Lit(number=number))
            await until(lambda: number in shared.delivered, "it is delivered")  # noqa: B023
            await sleepers.await_idle(worker)


async def test_more_events_than_one_batch_of_the_relay_are_delivered(
    store_url: str, sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.runtime.duties.relay.BATCH", 10)
    async with working(store_url, sleepers):
        await beacon.publish_many([Lit(number=number) for number in range(55)])
        await until(lambda: len(shared.delivered) == 55, "all are delivered")


async def test_an_event_that_could_not_be_dispatched_is_dispatched_when_its_next_try_is_due(
    store_url: str, sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.runtime.duties.relay._BACKOFF", fixed(0.1))
    async with opened(store_url, beacon) as app:
        ref = await beacon.publish(Flickered(number=1))
        await change(app, "event", "payload = '{'")
        async with app.worker(lease=HOUR):

            async def has_failed() -> bool:
                return (await app.events.get(ref.id)).attempts > 0

            await until(has_failed, "its condition cannot be evaluated")
            await change(app, "event", """payload = '{"number":1}'""")
            await until(lambda: shared.delivered, "it is delivered")


@pytest.mark.parametrize("how", ["return", "transaction", "complete-tx", "raise"])
async def test_a_lane_advances_when_a_delivery_has_ended(store_url: str, sleepers: Sleepers, how: str) -> None:
    async with working(store_url, sleepers):
        for number in range(4):
            await beacon.publish(Signalled(key="a", number=number, how=how, url=store_url))
        await until(lambda: len(shared.delivered) == 4, "every delivery of the lane has ended")
    assert shared.delivered == [0, 1, 2, 3]


# --- later


@pytest.mark.parametrize("how", ["raise", "snooze", "retry-after"])
async def test_a_retry_is_run_when_it_is_due(store_url: str, sleepers: Sleepers, how: str) -> None:
    async with working(store_url, sleepers) as (app, _):
        await all_complete(app, await beacon.enqueue(Wide(how=how)))
    assert shared.started == [how, how]


async def test_delayed_jobs_are_run_when_they_are_due(store_url: str, sleepers: Sleepers) -> None:
    """They were sent before the worker started: it cannot know of one that another process sends later."""
    async with opened(store_url, beacon) as app:
        refs = [await beacon.enqueue(Wide(), delay=delay) for delay in (0.3, 0.1, 0.2, 0.2)]
        async with app.worker(lease=HOUR):
            await all_complete(app, *refs)


async def test_a_run_is_stopped_at_its_time_though_another_one_has_more(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (app, _):
        patient = await beacon.enqueue(Two(how="wait"), timeout=HOUR)
        await until(lambda: shared.running, "the patient one runs")
        assert (await ended(app, await beacon.enqueue(Two(how="hang"), timeout=0.05, attempts=1))).state == "dead"
        shared.gate.set()
        await all_complete(app, patient)


# --- what people do


async def test_a_queue_that_is_resumed_is_claimed_from(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (app, worker):
        await app.queues.pause("beacon.single")
        refs = [await beacon.enqueue(One()) for _ in range(3)]
        await sleepers.await_idle(worker)
        assert not shared.started
        await app.queues.resume("beacon.single")
        await all_complete(app, *refs)


async def test_a_dead_job_that_is_retried_by_hand_is_run(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (app, worker):
        ref = await beacon.enqueue(One(how="raise"), attempts=1)
        assert (await ended(app, ref)).state == "dead"
        await sleepers.await_idle(worker)
        await app.jobs.retry(ref.id)
        await in_state(app, ref, "completed")


async def test_what_a_run_sends_is_run(store_url: str, sleepers: Sleepers) -> None:
    async with working(store_url, sleepers) as (_, __):
        await beacon.enqueue(One(how="send"))
        await until(lambda: shared.started == ["send", "return"], "the second one has started")


# --- workers that come and go


async def test_a_job_that_a_stopped_worker_gives_back_is_run_by_an_idle_one(store_url: str, sleepers: Sleepers) -> None:
    async with opened(store_url, beacon) as app:
        leaving = app.worker(lease=HOUR, grace=0)
        await leaving.start()
        ref = await beacon.enqueue(One(how="wait"))
        await until(lambda: shared.running, "the one that leaves runs it")
        async with app.worker(lease=HOUR) as staying:
            await sleepers.await_idle(staying, leaving)
            await leaving.stop()
            await until(lambda: len(shared.started) == 2, "the one that stays runs it")
            shared.gate.set()
            await all_complete(app, ref)


async def test_a_worker_that_starts_again_finds_what_came_meanwhile(store_url: str, sleepers: Sleepers) -> None:
    async with opened(store_url, beacon) as app:
        refs: list[JobRef] = []
        for number in range(3):
            async with app.worker(lease=HOUR) as worker:
                await until(lambda: number == 0 or number - 1 in shared.delivered, "what came meanwhile is delivered")  # noqa: B023
                await all_complete(app, *refs)
                await sleepers.await_idle(worker)
            refs += await beacon.enqueue_many([One(), Two()])
            await beacon.publish(Lit(number=number))


async def test_jobs_that_come_after_another_idle_worker_has_stopped_are_run(store_url: str, sleepers: Sleepers) -> None:
    async with opened(store_url, beacon) as app, app.worker(lease=HOUR) as staying:
        for _ in range(2):
            async with app.worker(lease=HOUR) as leaving:
                await sleepers.await_idle(staying, leaving)
                await all_complete(app, await beacon.enqueue(One()))
            await all_complete(app, await beacon.enqueue(One()))
            await beacon.publish(Lit(number=1))
            await until(lambda: shared.delivered.pop() if shared.delivered else None, "the event is delivered")


# --- the fallbacks themselves


def modules() -> dict[str, ast.Module]:
    """Of remit, those that name the fallbacks."""
    root = Path(remit.__file__).parent
    texts = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    return {path: ast.parse(text) for path, text in texts.items() if "fallbacks" in text}


def test_fallbacks_are_read_at_the_time_of_use() -> None:
    """As attributes of their module, inside a function: a copy would keep its value when the tests set another."""
    used: set[str] = set()
    for path, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "remit.db.fallbacks", f"{path} copies a fallback"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                used |= {name for statement in node.body for name in _fallbacks_in(statement)}
        outside = _outside_functions(module)
        assert not outside, f"{path} reads {outside} when it is imported"
    assert sorted(used) == FALLBACKS


def _fallbacks_in(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fallbacks"
    }


def _outside_functions(module: ast.Module) -> set[str]:
    """What is read at import: outside of functions, and in the defaults of their parameters."""
    found: set[str] = set()
    waiting: list[Any] = [*module.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None]
        elif isinstance(node, ast.Attribute):
            found |= _fallbacks_in(node)
        else:
            waiting += ast.iter_child_nodes(node)
    return found
