"""What a handler forks is none of the worker's, nor is the worker its."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from remit import Remit
from tests.faults.application import Fork, Note, ReturnTwice, ReturnTwiceInThread, Terminate
from tests.faults.harness import PATIENCE, Site, alive, until

pytestmark = pytest.mark.fault


def test_what_a_handler_forks_can_be_terminated_and_the_worker_works_on(sqlite_site: Site) -> None:
    site = sqlite_site
    worker = site.worker().ready()
    id = site.send(Terminate(number=1, times=20))
    site.await_final(id)
    assert site.app.sync.jobs.get(id).result == [-signal.SIGTERM] * 20
    after = site.send(Note(number=2))
    site.await_final(after)
    assert worker.said("asked") is None
    assert worker.stop() == 0
    site.check()


_APPLICATION = """
import multiprocessing, os, time
from remit import Domain, Job, Remit, Run

class Lab(Domain): ...
lab = Lab()
class Crunch(Job[Lab]): ...
class Digest(Job[Lab]): ...

@lab.handles(Digest, mode="process")
def digest(job: Digest, run: Run[Lab]) -> tuple[list[int], int]:
    return crunch(job, run), os.getpid()

@lab.handles(Crunch)
def crunch(job: Crunch, run: Run[Lab]) -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.apply(time.sleep, (0,))
    processes = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)) for _ in range(10)]
    for process in processes:
        process.start()
        process.terminate()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]

app = Remit("sqlite:///lab.db", domains=[lab])
"""


def test_the_same_under_the_command_on_uvloop_and_in_a_child_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "laboratory.py").write_text(textwrap.dedent(_APPLICATION))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    app: Remit
    from laboratory import Crunch, Digest, app, lab  # type: ignore[import-not-found]

    with app.sync:
        refs = lab.sync.enqueue_many([Crunch(), Digest(), Digest()])
        command = [sys.executable, "-m", "remit.cli", "worker", "laboratory:app", "--max-tasks-per-child", "1"]
        worker = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
        try:
            for ref in refs:
                until(lambda ref=ref: app.sync.jobs.get(ref.id).state.is_final, "the job has ended")
            assert worker.poll() is None
            worker.terminate()
            assert worker.wait(PATIENCE) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        crunched, (first, one), (second, other) = [app.sync.jobs.get(ref.id).result for ref in refs]
        assert crunched == first == second == [-signal.SIGTERM] * 10
        assert one != other, "each had a process of its own"


@pytest.mark.parametrize(
    "job", [ReturnTwice(number=1), ReturnTwice(number=1, wait=True), ReturnTwiceInThread(number=1)]
)
def test_a_fork_that_comes_back_from_a_handler_ends_before_it_does_harm(
    site: Site, job: ReturnTwice | ReturnTwiceInThread
) -> None:
    worker = site.worker(lease=10).ready()
    id = site.send(job)
    site.await_line("forked", id)
    site.await_final(id)
    [fork] = [line["pid"] for line in site.ledger.lines("forked", id)]
    until(lambda: not alive(fork), "the fork has ended")
    ids = site.send_all([Note(number=n) for n in range(20)])
    site.await_final(*ids)
    assert site.ledger.count("ended", id) == 1
    assert f"process {fork} was forked by a handler in process {worker.pid} and came back" in worker.log
    assert worker.stop() == 0
    site.check()


def test_a_fork_that_outlives_its_killed_worker_keeps_no_session_of_it(postgres_site: Site) -> None:
    site = postgres_site
    victim = site.worker(lease=60)
    id = site.send(Fork(number=1, gate="a"))
    site.await_line("forked", id)
    [fork] = [line["pid"] for line in site.ledger.lines("forked", id)]

    def sessions() -> int:
        [[count]] = site.database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'remit:%%' AND application_name <> 'remit:client'"
        )
        return int(count)

    assert sessions() > 0
    victim.kill()
    until(lambda: sessions() == 0, "the sessions of the worker have ended")
    assert alive(fork)
    site.open("a")
