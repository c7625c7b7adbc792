"""A lease that is lost aborts what runs under it: nothing of it may be written any more."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psutil

from remit import Domain, Job, Remit, Run
from remit.db.transaction import Role
from tests.runtime.working import all_ended, until, working


class Pier(Domain[None], handlers="tests.runtime.test_worker_lease"):
    pass


pier = Pier()


class Moor(Job[Pier]):
    """Its first run waits for a gate or until it is stopped, and notes that in the folder; the next returns at once."""

    folder: str


class MoorInThread(Job[Pier]):
    folder: str


class MoorInProcess(Job[Pier]):
    folder: str


def first_run(folder: str, name: str) -> bool:
    try:
        (Path(folder) / name).open("x").write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


@pier.handles(Moor)
async def moor(job: Moor, run: Run[Pier]) -> None:
    if first_run(job.folder, "async"):
        try:
            while not (Path(job.folder) / "gate").exists():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            (Path(job.folder) / "async cancelled").touch()
            raise


@pier.handles(MoorInThread)
def moor_in_thread(job: MoorInThread, run: Run[Pier]) -> None:
    if first_run(job.folder, "thread"):
        while not run.cancelled:
            time.sleep(0.005)
        (Path(job.folder) / "thread told").touch()


@pier.handles(MoorInProcess, mode="process")
def moor_in_process(job: MoorInProcess, run: Run[Pier]) -> None:
    if first_run(job.folder, "process"):
        while True:
            time.sleep(0.005)


async def test_a_worker_that_was_told_to_stop_says_so_while_its_runs_end(store_url: str, tmp_path: Path) -> None:
    async with working(store_url, pier, lease=1.0) as (app, worker):
        assert worker.health() == {"ok": True}
        await pier.enqueue(Moor(folder=str(tmp_path)))
        await until((tmp_path / "async").exists)
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: worker.health() == {"ok": True, "stopping": True})

        async def told() -> bool:
            return (await app.workers.list())[0].health.get("stopping", False)

        await until(told, "others are told by its beat")
        (tmp_path / "gate").touch()
        await stopping


async def bury(app: Remit, worker: str) -> None:
    """As the leader does with a worker that is silent for too long."""
    table = "remit_worker" if app.store.dialect == "sqlite" else "remit.worker"
    async with app.store.database(Role.HANDLER).session() as session:
        await session.execute(f"DELETE FROM {table} WHERE id = '{worker}'")


async def test_a_lost_lease_stops_handlers_of_every_mode_and_the_jobs_run_again(store_url: str, tmp_path: Path) -> None:
    folder = str(tmp_path)
    async with working(store_url, pier, lease=1.0) as (app, worker):
        first = worker.id
        refs = [await pier.enqueue(job(folder=folder)) for job in (Moor, MoorInThread, MoorInProcess)]
        await until(lambda: all((tmp_path / mode).exists() for mode in ("async", "thread", "process")), "all run")
        child = await until(lambda: int((tmp_path / "process").read_text() or 0))
        await bury(app, first)
        await until(lambda: worker.id != first, "it goes on under another id")
        await until((tmp_path / "async cancelled").exists)
        await until((tmp_path / "thread told").exists)
        await until(lambda: not psutil.pid_exists(child), "the process is killed")
        records = await all_ended(app, *refs)
    assert [(record.state, record.failures) for record in records] == [("completed", 0)] * 3
