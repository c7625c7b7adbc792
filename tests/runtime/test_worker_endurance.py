"""What handlers do to a worker that they should not, and what it makes of that: one slot, one worker, still working."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from remit import Domain, Job, Retry, Run
from remit.db.transaction import Role
from remit.runtime import loop as service
from remit.runtime.path import executor, prefetch
from remit.runtime.worker import Worker
from tests.runtime.working import ended, until, working


class Arena(Domain[None]):
    pass


arena = Arena()
ring = arena.queue("ring", concurrency=1)
ONCE = Retry(attempts=1)


class Fight(Job[Arena], queue=ring, retry=ONCE):
    how: str


class FightInThread(Job[Arena], queue=ring, retry=ONCE):
    how: str


class Bow(Job[Arena], queue=ring, retry=Retry(attempts=2)):
    pass


class BowInThread(Job[Arena], queue=ring, retry=ONCE):
    pass


class State:
    gate: asyncio.Event
    fought: asyncio.Event
    task: asyncio.Task[Any]
    bowing = False


state = State()


@pytest.fixture(autouse=True)
async def fresh() -> None:
    state.gate, state.fought, state.bowing = asyncio.Event(), asyncio.Event(), False


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no picture")


class NoTraceback(Exception):
    @property
    def __notes__(self) -> list[str]:  # the traceback module asks for it
        raise RuntimeError("no notes")


class NoModule(Exception):
    __module__ = None  # type: ignore[assignment]


def provoke(how: str) -> Any:  # noqa: PLR0912 - a list
    match how:
        case "no text":
            raise NoText
        case "no module":
            raise NoModule("from nowhere")
        case "group":
            raise ExceptionGroup("several", [ValueError(n) for n in range(500)])
        case "no traceback":
            raise NoTraceback
        case "recursion":
            return provoke(how)
        case "circle":
            first, second = ValueError("first"), ValueError("second")
            first.__cause__, second.__cause__ = second, first
            raise first
        case "chain":
            error: Exception = ValueError(0)
            for number in range(2000):
                following = ValueError(number)
                following.__context__ = error
                error = following
            raise error
        case "memory":
            return "x" * sys.maxsize
        case "notes":
            odd = ValueError("notes")
            odd.__notes__ = 5  # type: ignore[assignment]
            raise odd
        case "class":
            raise KeyError
        case "deep result":
            result: list[Any] = []
            for _ in range(100_000):
                result = [result]
            return result
    raise AssertionError(how)


@arena.handles(Fight)
async def fight(job: Fight, run: Run[Arena]) -> Any:
    task = asyncio.current_task()
    assert task is not None
    state.task = task
    state.fought.set()
    await state.gate.wait()
    match job.how:
        case "cancel":
            task.cancel()
        case "cancel, and wait":
            task.cancel()
            await asyncio.sleep(0)
        case "cancel, and take it back":
            task.cancel()
            task.uncancel()
        case "cancel, and swallow it":
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass
        case "cancel twice":
            task.cancel()
            try:
                await asyncio.sleep(0)
            finally:
                task.cancel()
        case "leave a task":
            asyncio.create_task(asyncio.sleep(3600))  # noqa: RUF006 - as careless as it looks
        case "time out by itself":
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(3600)
            except TimeoutError:
                pass
        case "nothing":
            pass
        case _:
            return provoke(job.how)
    return job.how


@arena.handles(FightInThread)
def fight_in_thread(job: FightInThread, run: Run[Arena]) -> Any:
    return provoke(job.how)


@arena.handles(Bow)
async def bow(job: Bow, run: Run[Arena]) -> str:
    await asyncio.sleep(0)
    return "still here"


@arena.handles(BowInThread)
def bow_in_thread(job: BowInThread, run: Run[Arena]) -> str:
    state.bowing = True
    asyncio.run_coroutine_threadsafe(state.gate.wait(), state.task.get_loop()).result()
    return "still here"


STRANGE = [
    "no text", "no module", "group", "no traceback", "recursion", "circle", "chain", "memory", "notes", "class",
]  # fmt: skip


@pytest.mark.parametrize("kind", [Fight, FightInThread])
async def test_the_strangest_exceptions_are_failures_like_any_other(store_url: str, kind: Any) -> None:
    state.gate.set()
    async with working(store_url, arena) as (app, worker):
        for how in STRANGE:
            record = await ended(app, await arena.enqueue(kind(how=how)))
            assert (how, record.state, record.failures) == (how, "dead", 1)
            [error] = record.errors
            assert error.traceback
            assert worker.telemetry.counts["trouble"] == 0, how
        assert (await ended(app, await arena.enqueue(Bow()))).result == "still here"


def queue_up(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> prefetch.Prefetch:
    """Have a job claimed ahead, and run by the same slot without a turn of the loop in between."""
    [queue] = worker.lines.prefetches.values()
    monkeypatch.setattr(queue, "_sample", lambda: None)
    monkeypatch.setattr(queue, "_ahead", 1)
    monkeypatch.setattr(prefetch, "QUANTUM", 3600.0)
    return queue


@pytest.mark.parametrize(
    "how, ends",
    [
        ("cancel", "dead"),
        ("cancel, and wait", "dead"),
        ("cancel, and take it back", "dead" if sys.version_info < (3, 13) else "completed"),
        ("cancel, and swallow it", "completed"),
        ("cancel twice", "dead"),
        ("leave a task", "completed"),
        ("time out by itself", "completed"),
        ("deep result", "completed"),
        ("class", "dead"),
    ],
)
async def test_no_handler_takes_its_slot_or_the_next_run_with_it(
    store_url: str, how: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(store_url, arena) as (app, worker):
        queue = queue_up(worker, monkeypatch)
        fighting = await arena.enqueue(Fight(how=how))
        await state.fought.wait()
        following = [await arena.enqueue(Bow()) for _ in range(3)]
        await until(lambda: queue.waiting == 1, "the next job waits for the slot")
        state.gate.set()
        for ref in following:
            record = await ended(app, ref)
            assert (record.result, record.failures) == ("still here", 0)
        record = await ended(app, fighting)
        assert record.state == ends
        assert [error.kind for error in record.errors] == (
            [] if ends == "completed" else ["KeyError" if how == "class" else "asyncio.exceptions.CancelledError"]
        )
        assert worker.telemetry.counts["trouble"] == 0


async def test_a_slot_that_is_cancelled_while_it_has_nothing_to_do_is_replaced(store_url: str) -> None:
    state.gate.set()
    async with working(store_url, arena) as (app, _):
        await ended(app, await arena.enqueue(Fight(how="nothing")))
        state.task.cancel()  # as a handler can arrange it for later
        await asyncio.wait([state.task])
        assert (await ended(app, await arena.enqueue(Bow()))).failures == 0


async def test_a_cancellation_that_comes_late_is_a_failure_of_the_run_that_it_meets(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    state.gate.set()
    async with working(store_url, arena) as (app, _):
        await ended(app, await arena.enqueue(Fight(how="nothing")))
        state.gate.clear()
        ref = await arena.enqueue(BowInThread())
        await until(lambda: state.bowing)
        state.task.cancel()
        record = await ended(app, ref)
        assert [error.kind for error in record.errors] == ["asyncio.exceptions.CancelledError"]
        state.gate.set()
        assert (await ended(app, await arena.enqueue(Bow()))).result == "still here"
    assert f"job dead: arena.bow-in-thread {ref.id}: failed 1 of 1 attempts" in caplog.text


async def test_who_ends_all_tasks_of_the_loop_ends_the_slots(store_url: str) -> None:
    """As `asyncio.run` does at its end, which waits for all of them."""
    async with working(store_url, arena):
        await arena.enqueue(Fight(how="nothing"))
        await state.fought.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("remit-slot")] == []


async def test_an_exception_of_our_own_in_a_slot_is_told_once_and_costs_neither_the_slot_nor_the_job(
    store_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As if there were a bug in remit itself."""
    monkeypatch.setattr(executor, "AFTER_A_BUG", 0.01)
    async with working(store_url, arena) as (app, worker):
        settle = worker.parts.executor._settle

        def broken(*_: object) -> None:
            monkeypatch.setattr(worker.parts.executor, "_settle", settle)
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(worker.parts.executor, "_settle", broken)
        record = await ended(app, await arena.enqueue(Bow()))
        assert (record.state, record.result) == ("completed", "still here")
        assert [error.kind for error in record.errors] == ["ZeroDivisionError"]
    [told] = [line for line in caplog.records if line.exc_info]
    assert told.getMessage() == f"run failed unexpectedly: arena.bow {record.id}"


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_part_that_waits_for_the_database_and_hears_nothing_is_told(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that waits for a lock raises nothing, and claims nothing."""
    monkeypatch.setattr(service, "LONGEST_WAIT", 0.2)
    async with working(store_url, arena) as (app, worker):
        await ended(app, await arena.enqueue(Bow()))
        async with app.store.database(Role.HANDLER).session() as operator:
            await operator.execute("LOCK TABLE remit.job IN ACCESS EXCLUSIVE MODE")
            await until(lambda: "producer" in worker.health().get("trouble", {}))
            assert "no answer from the database" in worker.health()["trouble"]["producer"]
        await until(lambda: worker.health() == {"ok": True})
        assert (await ended(app, await arena.enqueue(Bow()))).result == "still here"
