"""A worker and the child processes of its handlers: what either does to the other, and to what it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from remit import JobRecord, JobRef, Remit
from remit.errors import InvalidArgument
from remit.runtime.handlers import processes
from remit.runtime.worker import Worker
from tests.runtime.mill import Broken, Grind, Heavy, Hurry, mill
from tests.runtime.working import all_ended, ended, opened, until, working

TREE = ("handler", "command", "fork")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where children leave files; whatever they left running is ended with the test."""
    monkeypatch.setenv("MILL", str(tmp_path))
    yield
    for name in TREE:
        if (tmp_path / name).exists() and alive(pid := int((tmp_path / name).read_text())):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in TREE]


async def stands(folder: Path) -> list[int]:
    await until(lambda: (folder / "handler").exists(), "the tree stands")
    return tree(folder)


async def gone(*pids: int) -> None:
    await until(lambda: not any(map(alive, pids)), f"{pids} have ended")


async def grind(how: str, folder: Path) -> JobRef:
    return await mill.enqueue(Grind(how=how, folder=str(folder)))


async def ground(app: Remit, how: str, folder: Path) -> JobRecord:
    return await ended(app, await grind(how, folder))


def children(worker: Worker) -> set[int]:
    """The process ids of a worker's children."""
    return worker.parts.executor.processes.pids


# --- the tree of a handler


@pytest.mark.parametrize("how, error", [("exit", "exit status 3"), ("segfault", "signal SIGSEGV")])
async def test_a_process_that_dies_fails_its_job_at_once_and_takes_along_what_it_started_and_its_log_is_kept(
    store_url: str, tmp_path: Path, how: str, error: str
) -> None:
    async with working(store_url, mill) as (app, _):
        ref = await grind(f"tree and {how}", tmp_path)
        record = await ended(app, ref)
        await gone(*tree(tmp_path))

        async def logged() -> list[str]:
            return [line.message for line in (await app.jobs.get(ref.id)).logs]

        assert await until(logged) == ["the tree stands"]
    assert record.state == "dead"
    assert [each.message for each in record.errors] == [f"the process of the handler died: {error}"]


async def test_a_process_killed_from_outside_fails_its_job_though_a_fork_of_it_lives(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with working(sqlite_url, mill) as (app, _):
        ref = await grind("tree", tmp_path)
        pids = await stands(tmp_path)
        os.kill(pids[0], signal.SIGKILL)
        record = await ended(app, ref)
        await gone(*pids)
    assert "signal SIGKILL, which the system sends when memory runs out" in record.errors[0].message


async def test_a_timeout_ends_all_that_the_handler_started(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Hurry(folder=str(tmp_path))))
        await gone(*await stands(tmp_path))
    assert [each.kind for each in record.errors] == ["TimeoutError"]


async def test_a_shutdown_ends_all_that_the_handler_started_and_gives_the_job_back(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(sqlite_url, mill, grace=0) as app:
        async with app.worker():
            ref = await grind("tree", tmp_path)
            pids = await stands(tmp_path)
        await gone(*pids)
        record = await app.jobs.get(ref.id)
    assert (record.state, record.failures) == ("ready", 0)


async def test_what_a_handler_leaves_behind_ends_with_its_process(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LAST_MOMENTS", 0.5)  # multiprocessing waits for its children when a process ends
    async with working(sqlite_url, mill) as (app, _):
        record = await ground(app, "tree and return", tmp_path)
        assert alive(tree(tmp_path)[1])
    assert record.state == "completed"
    await gone(*tree(tmp_path))


async def test_a_process_that_dies_while_it_waits_costs_no_job_anything(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, _):
        first = (await ground(app, "pid", tmp_path)).result
        os.kill(first, signal.SIGKILL)
        record = await ground(app, "pid", tmp_path)
    assert (record.state, record.failures) == ("completed", 0)
    assert record.result != first


# --- signals


async def test_what_a_handler_starts_can_be_terminated(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, _):
        record = await ground(app, "terminate", tmp_path)
    assert record.result == [-signal.SIGTERM, -signal.SIGTERM]


async def test_a_signal_that_a_service_manager_sends_to_all_is_left_to_the_worker(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with working(sqlite_url, mill) as (app, _):
        record = await ground(app, "be signalled", tmp_path)
    assert (record.result, record.failures) == ("unmoved", 0)


async def test_a_signal_without_a_name_is_a_reason_too(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, _):
        record = await ground(app, "real-time signal", tmp_path)
    assert record.errors[0].message == f"the process of the handler died: signal {signal.SIGRTMIN + 4}"


async def test_an_application_that_ignores_the_end_of_its_children_does_not_hang_a_job(
    sqlite_url: str, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with working(sqlite_url, mill) as (app, _):
            record = await ground(app, "tree and exit", tmp_path)
            terminated = await ground(app, "terminate", tmp_path)
            await gone(*tree(tmp_path))
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "its exit status is not known" in record.errors[0].message
    assert terminated.result == [-signal.SIGTERM, -signal.SIGTERM], "a child waits for its own"


# --- what a handler does to the socket


async def test_a_fork_that_comes_back_from_the_handler_ends_and_answers_nothing(
    sqlite_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with working(sqlite_url, mill) as (app, _):
        records = [await ground(app, how, tmp_path) for how in ("fork and return", "fork and raise", "pid")]
        await gone(int((tmp_path / "returned-fork").read_text()))
    assert [(record.state, record.failures) for record in records] == [("completed", 0)] * 3
    assert records[0].result == records[2].result, "the process was kept"
    said = capfd.readouterr().err
    assert said.count("was forked by a handler in process") == 2
    assert "came back from the handler by raising RuntimeError('in the fork')" in said


@pytest.mark.parametrize(
    "how, why",
    [
        ("garbage", "sent what is no message of its own"),
        ("a little garbage", "sent what is no message of its own"),
        ("close", "closed its socket to the worker"),
        ("replace", "closed its socket to the worker"),
    ],
)
async def test_a_handler_that_spoils_the_socket_fails_with_a_reason(
    sqlite_url: str, tmp_path: Path, how: str, why: str
) -> None:
    async with working(sqlite_url, mill) as (app, worker):
        record = await ground(app, how, tmp_path)
        after = await ground(app, "pid", tmp_path)
        assert worker.health() == {"ok": True}
    [error] = record.errors
    assert error.kind == "remit.runtime.handlers.processes.ProcessDied"
    assert f"the process of the handler {why}" in error.message
    assert after.state == "completed"
    if how == "replace":
        assert (tmp_path / "mine").read_bytes() == b""


async def test_a_process_passes_on_neither_descriptors_nor_variables_of_its_own(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/srv/libraries")
    async with working(sqlite_url, mill) as (app, _):
        descriptors = await ground(app, "descriptors", tmp_path)
        environment = await ground(app, "environment", tmp_path)
    assert descriptors.result == [0, 1, 2, 3], "3 is the folder that is listed"
    assert environment.result == {"PYTHONPATH": "/srv/libraries", "path": sys.path}


async def test_lines_from_threads_and_between_signals_arrive_whole(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, worker):
        kept: list[str] = []
        worker.parts.executor.processes.keep = lambda job, attempt, record: kept.append(record.getMessage())
        record = await ground(app, "log in threads", tmp_path)
        numbers, kept = Counter(kept), []
        interrupted = await ground(app, "log and be interrupted", tmp_path)
        badly = await ground(app, "log badly", tmp_path)
    assert record.state == badly.state == "completed"
    assert numbers == {str(n): 100 for n in range(4)}
    assert interrupted.state == "completed"
    assert interrupted.result > 50


async def test_large_messages_cross(sqlite_url: str, tmp_path: Path) -> None:
    async with working(sqlite_url, mill) as (app, _):
        await ground(app, "much", tmp_path)
        flour = (await app.jobs.list(job="mill.flour")).jobs
        assert [record.result for record in await all_ended(app, *(JobRef(each.id) for each in flour))] == [
            5_000_000
        ] * 3


# --- before the handler


async def test_the_import_of_a_handler_is_no_time_of_the_job(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    async with working(sqlite_url, mill, lease=1.0) as (app, _):
        ref = await mill.enqueue(Heavy(folder=str(tmp_path)))
        await until(lambda: (tmp_path / "importing").exists())
        await app.jobs.cancel(ref.id, reason="enough")
        await asyncio.sleep(1.2)  # longer than the timeout
        (tmp_path / "hold").unlink()
        record = await ended(app, ref)
    assert (record.state, record.failures) == ("completed", 0)
    assert record.result == {"cancelled": True}, "what was asked meanwhile is known when the handler begins"


async def test_an_import_that_never_ends_is_a_failure_and_its_process_is_ended(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hold").touch()
    async with working(sqlite_url, mill) as (app, _):
        used = (await ground(app, "pid", tmp_path)).result
        monkeypatch.setattr(processes, "LONGEST_PREPARATION", 1.0)
        record = await ended(app, await mill.enqueue(Heavy(folder=str(tmp_path))))
        await gone(used)
    assert record.errors[0].message == (
        "the process of the handler was not ready after 1 s: that is how long it may take to import "
        "tests.runtime.mill_heavy:heavy and to open the context of its domain"
    )


async def test_an_import_that_fails_says_so_and_the_next_attempt_has_a_fresh_process(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with working(sqlite_url, mill) as (app, _):
        used = (await ground(app, "pid", tmp_path)).result
        record = await ended(app, await mill.enqueue(Broken(folder=str(tmp_path))))
        await gone(used)
    assert (record.state, record.failures, record.result != used) == ("completed", 1, True)
    [error] = record.errors
    assert error.kind == "remit.runtime.handlers.processes.NotPrepared"
    assert error.message == (
        "the process could not prepare tests.runtime.mill_broken:broken for mill.broken: "
        "ImportError: libmill.so.3: cannot open shared object file"
    )
    assert "mill_broken.py" in (error.traceback or "")


# --- recycling


async def test_a_process_is_replaced_after_its_number_of_jobs_and_closes_its_contexts(
    store_url: str, tmp_path: Path
) -> None:
    async with working(store_url, mill, max_tasks_per_child=2) as (app, worker):
        records = [await ground(app, "pid", tmp_path) for _ in range(5)]
        served = Counter(record.result for record in records)
        await until(lambda: len(children(worker)) == 1)
    assert [(record.state, record.failures) for record in records] == [("completed", 0)] * 5
    assert sorted(served.values()) == [1, 2, 2]
    assert {f"closed-{pid}" for pid in served} == {each.name for each in tmp_path.glob("closed-*")}


async def test_how_many_jobs_a_process_serves_is_a_whole_number(sqlite_url: str) -> None:
    for number in (0, -1, 1.5, True, "2"):
        with pytest.raises(InvalidArgument, match="max_tasks_per_child is a number of jobs, 1 or more, not "):
            Remit(sqlite_url, domains=[], max_tasks_per_child=number)  # type: ignore[arg-type]
    assert Remit(sqlite_url, domains=[]).worker(max_tasks_per_child=3).settings.max_tasks_per_child == 3
