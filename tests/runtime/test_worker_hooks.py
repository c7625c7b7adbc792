"""What an application does around each run: in order, where the handler runs, and with a view of how it ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remit import JobRecord, Remit, Run
from remit.errors import HandlerShape
from remit.runtime.worker import Worker
from tests.runtime.hooked import Inner, InProcess, InThread, OnLoop, awaiting, opera, outer
from tests.runtime.working import ended, opened

KINDS = [OnLoop, InThread, InProcess]


@asynccontextmanager
async def hooked(url: str, *hooks: Any) -> AsyncIterator[tuple[Remit, Worker]]:
    async with opened(url, opera) as app:
        for hook in hooks:
            assert app.around_run(hook) is hook
        async with app.worker() as worker:
            yield app, worker


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def lines(diary: Path) -> list[str]:
    return diary.read_text().splitlines() if diary.exists() else []


async def run(url: str, diary: Path, kind: Any, how: str, *hooks: Any) -> JobRecord:
    async with hooked(url, *hooks) as (app, _):
        return await ended(app, await opera.enqueue(kind(diary=str(diary), how=how)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_hooks_nest_in_order_where_the_handler_runs(store_url: str, diary: Path, kind: Any) -> None:
    record = await run(store_url, diary, kind, "", outer, Inner)
    assert (record.state, record.result) == ("completed", "applause")
    where = {OnLoop: "loop", InThread: "thread", InProcess: "main"}[kind]
    first, inner_enters, handler, *rest = lines(diary)
    pid = first.split()[3]
    assert (pid == str(os.getpid())) == (kind is not InProcess)
    assert first == f"outer enters {where} {pid} {record.name} the stage"
    assert (inner_enters, handler) == ("inner enters", f"handler {where} {pid} filled")
    assert [line.strip() for line in rest] == ["inner leaves", "outer leaves applause"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_an_async_hook_runs_on_the_loop_around_handlers_of_every_mode(
    store_url: str, diary: Path, kind: Any
) -> None:
    record = await run(store_url, diary, kind, "", outer, awaiting)
    assert record.result == "applause"
    kinds = [" ".join(line.split()[:2]) for line in lines(diary)]
    within = ["outer enters", "awaiting enters", "handler loop", "awaiting leaves", "outer leaves"]
    around = ["awaiting enters", "outer enters", kinds[2], "outer leaves", "awaiting leaves"]
    assert kinds == (within if kind is OnLoop else around)
    [entered] = [line for line in lines(diary) if line.startswith("awaiting enters")]
    assert entered == f"awaiting enters loop {os.getpid()}"
    assert "awaiting leaves applause" in lines(diary)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "how, state, error, seen",
    [
        ("fail", "dead", "RuntimeError", ["inner leaves RuntimeError", "outer sees RuntimeError"]),
        ("swallow", "dead", "RuntimeError", ["inner leaves RuntimeError", "outer sees RuntimeError"]),
        ("replace", "dead", "KeyError", ["inner leaves RuntimeError", "outer sees RuntimeError"]),
        ("stop before", "dead", "ValueError", []),
        ("skip before", "skipped", None, []),
        ("stop after", "dead", "ValueError", ["inner leaves", "outer leaves applause"]),
    ],
)
async def test_a_hook_sees_a_failure_and_may_cause_one_and_never_hides_one(
    sqlite_url: str, diary: Path, kind: Any, how: str, state: str, error: str | None, seen: list[str]
) -> None:
    record = await run(sqlite_url, diary, kind, how, outer, Inner)
    assert (record.state, [each.kind for each in record.errors]) == (state, [error] if error else [])
    kinds = [line.strip() for line in lines(diary)]
    assert [line for line in kinds if line.split()[1] in {"leaves", "sees"}] == seen
    assert any(line.startswith("handler") for line in kinds) == bool(seen), "the handler is not called after a failure"


@pytest.mark.parametrize("kind", [OnLoop, InThread], ids=lambda kind: kind.__name__)
async def test_a_hook_on_the_loop_sees_a_timeout_as_one(store_url: str, diary: Path, kind: Any) -> None:
    async with hooked(store_url, awaiting) as (app, _):
        record = await ended(app, await opera.enqueue(kind(diary=str(diary), how="late"), timeout=0.1))
    assert [error.kind for error in record.errors] == ["TimeoutError"]
    assert "It stood here" in (record.errors[0].traceback or "")
    assert lines(diary)[1:] == ["awaiting sees TimeoutError"]


async def test_what_a_handler_raises_after_its_timeout_is_kept_within_hooks_too(store_url: str, diary: Path) -> None:
    async with hooked(store_url, awaiting, outer) as (app, _):
        job = OnLoop(diary=str(diary), how="late, and raises then")
        [error] = (await ended(app, await opera.enqueue(job, timeout=0.1))).errors
    assert error.kind == "TimeoutError"
    assert (error.traceback or "").count("ValueError: while it cleaned up") == 1
    assert (error.traceback or "").count("It stood here") == 1


async def test_a_hook_counts_towards_the_timeout(store_url: str, diary: Path) -> None:
    async def stuck(_: Run[Any]) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    async with hooked(store_url, stuck) as (app, _):
        for kind in (OnLoop, InThread):
            record = await ended(app, await opera.enqueue(kind(diary=str(diary)), timeout=0.05))
            assert [error.kind for error in record.errors] == ["TimeoutError"]
    assert lines(diary) == []


async def test_a_twin_has_the_hooks_too(sqlite_url: str, diary: Path) -> None:
    app = Remit("sqlite://", domains=[opera])
    app.around_run(Inner)
    twin = app.twin(sqlite_url)
    with twin.bound():
        ref = await opera.enqueue(OnLoop(diary=str(diary)))
        await twin.drain()
        assert (await twin.jobs.get(ref.id)).state == "completed"
    assert [line.strip() for line in lines(diary) if "inner" in line] == ["inner enters", "inner leaves"]


async def test_a_hook_that_a_child_cannot_import_is_refused_when_the_worker_starts(sqlite_url: str) -> None:
    def nested(_: Run[Any]) -> Iterator[None]:
        yield

    with pytest.raises(HandlerShape, match=r'opera\.in-process has mode="process": the hook runs in that process'):
        async with hooked(sqlite_url, nested):
            pass


def no_yield(run: Run[Any]) -> None: ...


async def coroutine(run: Run[Any]) -> None: ...


def no_run() -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    "hook", [no_yield, coroutine, no_run, 3, lambda run: None], ids=["plain", "coroutine", "no run", "number", "lambda"]
)
async def test_what_is_no_hook_is_refused(sqlite_url: str, hook: Any) -> None:
    app = Remit(sqlite_url, domains=[opera])
    with pytest.raises(HandlerShape, match=r"must be a function `\(run\)`, async or not, that yields once"):
        app.around_run(hook)


async def test_what_contextlib_makes_is_a_hook(sqlite_url: str, diary: Path) -> None:
    async def named(prefix: str, run: Run[Any]) -> AsyncIterator[None]:
        seen.append(f"{prefix} {run.name}")
        yield

    seen: list[str] = []
    for hook in (asynccontextmanager(partial(named, "made")), partial(named, "partial")):
        await run(sqlite_url, diary, OnLoop, "", hook)
    assert seen == ["made opera.on-loop", "partial opera.on-loop"]
