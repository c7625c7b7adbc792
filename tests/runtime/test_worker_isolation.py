"""What a run does to its surroundings ends with it: context variables, tasks, and attempts to end the process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from remit import Domain, Event, Job, Retry, Run, fixed
from tests.runtime import isolated
from tests.runtime.isolated import InProcess, InThread, Moved, OnLoop, tenant, ward
from tests.runtime.working import all_ended, ended, in_state, until, working


@pytest.fixture(autouse=True)
def _clean() -> None:
    isolated.tenants_of_conditions.clear()


@pytest.mark.parametrize("kind, seen", [(OnLoop, 4), (InThread, 2), (InProcess, 2)], ids=["async", "thread", "process"])
async def test_a_run_does_not_see_the_context_variables_of_the_one_before(
    store_url: str, kind: type[OnLoop | InThread | InProcess], seen: int
) -> None:
    async with working(store_url, ward) as (app, _):
        refs = [await ward.enqueue(kind(name=name)) for name in ("acme", "initech", "hooli")]
        results = [record.result for record in await all_ended(app, *refs)]
    assert results == [["nobody", *[name] * (seen - 1)] for name in ("acme", "initech", "hooli")]


async def test_runs_of_all_kinds_in_one_slot_do_not_see_each_other(store_url: str) -> None:
    """An async handler, a thread and the condition of a subscription in turns."""
    async with working(store_url, ward) as (app, _):
        for name in ("acme", "initech"):
            await ward.publish(Moved(name=name))
            await until(lambda: len(isolated.tenants_of_conditions) > ("acme", "initech").index(name))  # noqa: B023
            for kind in (OnLoop, InThread, OnLoop):
                record = await ended(app, await ward.enqueue(kind(name="other")))
                assert record.result[0] == "nobody"
        await until(lambda: follows(app))
        deliveries = await follows(app)
    assert isolated.tenants_of_conditions == ["nobody", "nobody"]
    assert sorted(record.result for record in deliveries) == [["acme"], ["initech"]], "a condition is of its run"


async def follows(app: Any) -> Any:
    page = await app.jobs.list(job="ward.follow", state="completed")
    return page.jobs if len(page.jobs) == 2 else None


async def test_a_run_sees_what_the_worker_was_started_with(store_url: str) -> None:
    token = tenant.set("the house")
    try:
        async with working(store_url, ward) as (app, _):
            tenant.set("somebody else")
            refs = [await ward.enqueue(kind(name="acme")) for kind in (OnLoop, InThread)]
            results = [record.result[0] for record in await all_ended(app, *refs)]
    finally:
        tenant.reset(token)
    assert results == ["the house", "the house"]


class Asylum(Domain[None], retry=Retry(attempts=2, backoff=fixed(0.01))):
    """Each test gives its handlers as functions that stand here while it lasts."""


class Escapes(BaseException):
    """Raised where a test wants a backoff that fails."""


def leaving(attempt: int, error: BaseException) -> float:
    sys.exit(4)


asylum = Asylum()
cell = asylum.queue("cell", concurrency=1)


class Escape(Job[Asylum], queue=cell):
    pass


class EscapeInBackoff(Job[Asylum], queue=cell, retry=Retry(backoff=leaving)):
    pass


class Opened(Event[Asylum]):
    pass


class Does:
    now: Callable[[Run[Any]], Awaitable[Any]]
    condition: Callable[[Any], bool]


@asylum.handles(Escape)
async def escape(job: Escape, run: Run[Asylum]) -> Any:
    return await Does.now(run)


@asylum.handles(EscapeInBackoff)
async def escape_in_backoff(job: EscapeInBackoff, run: Run[Asylum]) -> Any:
    raise Escapes


@asylum.on(Opened, name="escape-first", where=lambda event: Does.condition(event))
async def after_the_condition(event: Opened, run: Run[Asylum]) -> str:
    return "wanted"


def does(function: Callable[[Run[Any]], Coroutine[Any, Any, Any]]) -> None:
    Does.now = staticmethod(function)


async def leave(error: BaseException) -> None:
    raise error


async def in_a_task_group(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave(error))


async def in_a_nursery(error: BaseException) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(leave, error)


async def in_a_task(error: BaseException) -> None:
    await asyncio.create_task(leave(error))


async def in_a_task_of_a_task(error: BaseException) -> None:
    await asyncio.create_task(in_a_task(error))


async def gathered(error: BaseException) -> None:
    await asyncio.gather(asyncio.sleep(0), leave(error))


async def in_its_own_context(error: BaseException) -> None:
    import contextvars

    await asyncio.create_task(leave(error), context=contextvars.copy_context())


async def in_a_thread(error: BaseException) -> None:
    def leaves() -> None:
        raise error

    await asyncio.to_thread(leaves)


@pytest.mark.parametrize(
    "way",
    [in_a_task_group, in_a_nursery, in_a_task, in_a_task_of_a_task, gathered, in_its_own_context, in_a_thread],
    ids=lambda way: way.__name__,
)
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
async def test_a_task_that_would_end_the_process_fails_its_run(
    sqlite_url: str, way: Callable[[BaseException], Coroutine[Any, Any, None]], error: BaseException
) -> None:
    @does
    async def once(run: Run[Any]) -> None:
        if run.attempt == 1:
            await way(error)

    async with working(sqlite_url, asylum) as (app, worker):
        record = await ended(app, await asylum.enqueue(Escape()))
        assert worker.health()["ok"]
    assert (record.state, record.failures) == ("completed", 1)
    assert type(error).__name__ in (record.errors[0].traceback or "")


async def test_a_task_that_outlives_its_run_does_not_end_the_process(store_url: str) -> None:
    go = asyncio.Event()
    tasks = []

    @does
    async def leaves_a_task(run: Run[Any]) -> None:
        async def later() -> None:
            await go.wait()
            sys.exit(3)

        tasks.append(asyncio.create_task(later()))

    async with working(store_url, asylum) as (app, _):
        await ended(app, await asylum.enqueue(Escape()))
        go.set()
        await asyncio.wait(tasks)
        assert "SystemExit(3)" in str(tasks[0].exception())
        assert (await ended(app, await asylum.enqueue(Escape()))).state == "completed"


async def test_a_condition_or_a_backoff_that_would_end_the_process_costs_a_try(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def leaves_once(_: Any) -> bool:
        Does.condition = staticmethod(lambda _: True)
        sys.exit(3)

    Does.condition = staticmethod(leaves_once)
    async with working(store_url, asylum) as (app, worker):
        await asylum.publish(Opened())
        await until(lambda: worker.telemetry.counts["completed"] == 1)
        [record] = (await app.jobs.list(job="asylum.escape-first")).jobs
        assert (record.failures, record.result) == (1, "wanted")
        await in_state(app, await asylum.enqueue(EscapeInBackoff()), "scheduled")
        assert worker.health()["ok"]
    assert "backoff function failed, the default is used: asylum.escape-in-backoff: SystemExit: 4" in caplog.text


@pytest.mark.filterwarnings("error")
async def test_tasks_of_handlers_are_what_they_would_be_elsewhere(store_url: str) -> None:
    async def part() -> str:
        return "done"

    @does
    async def looks(_: Run[Any]) -> list[str]:
        unbegun = asyncio.create_task(part(), name="unbegun")
        unbegun.cancel()
        await asyncio.wait([unbegun])
        task = asyncio.create_task(part())
        description = repr(task)
        stack = [frame.f_code.co_name for frame in task.get_stack()]
        return [str(unbegun.cancelled()), await task, *stack, str("part()" in description)]

    async with working(store_url, asylum) as (app, _):
        record = await ended(app, await asylum.enqueue(Escape()))
    assert record.result == ["True", "done", "part", "True"]


async def test_tasks_of_the_application_are_left_alone_and_so_is_its_task_factory(sqlite_url: str) -> None:
    loop = asyncio.get_running_loop()
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    @does
    async def starts_a_task(_: Run[Any]) -> None:
        await asyncio.create_task(asyncio.sleep(0))

    loop.set_task_factory(factory)
    try:
        async with working(sqlite_url, asylum) as (app, _), app.worker():
            coroutine = asyncio.sleep(0)
            await asyncio.create_task(coroutine)
            assert made[-1] is coroutine
            before = len(made)
            await ended(app, await asylum.enqueue(Escape()))
            assert len(made) > before
            assert loop.get_task_factory() is not factory
        assert loop.get_task_factory() is factory
    finally:
        loop.set_task_factory(None)
