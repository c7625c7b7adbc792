"""Faults 16 to 20: a worker is told to stop, in time, at a bad moment, or twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import psutil
import pytest

from tests.faults.application import Deaf, Hold, HoldInProcess, HoldInThread, Note, Parent, Pause
from tests.faults.harness import Site, until

pytestmark = pytest.mark.fault


def test_fault_16_jobs_longer_than_the_grace_period_are_interrupted_at_no_cost(site: Site) -> None:
    worker = site.worker(grace=0.3).ready()
    ids = site.send_all([
        Hold(number=1, gate="a"), HoldInThread(number=2, gate="a"), HoldInProcess(number=3, gate="a"),
        Parent(number=10, children=2, gate="a"),
    ])  # fmt: skip
    for id in ids:
        site.await_line("started", id)
    assert worker.stop() == 0
    rows = site.check(ended=False)
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("ready", 0)}
    assert not site.database.workers(), "it has signed off"
    site.open("a")
    site.worker()
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}


def test_fault_16_a_handler_that_swallows_its_cancellation_does_not_hold_the_worker(site: Site) -> None:
    worker = site.worker(grace=0.3).ready()
    id = site.send(Deaf(number=1, gate="a"))
    site.await_line("started", id)
    worker.signal(signal.SIGTERM)
    worker.await_said("stopped")
    row = site.database.rows()[id]
    assert (row.state, row.failures) == ("ready", 0)
    site.open("a")
    assert worker.wait() == 0
    site.worker()
    site.await_final(id)
    assert site.check()[id].failures == 0


def test_fault_16_runs_that_end_within_the_grace_period_are_completed(site: Site) -> None:
    worker = site.worker(grace=60.0).ready()
    ids = site.send_all([Parent(number=10, children=2, gate="a"), HoldInThread(number=2, gate="a")])
    for id in ids:
        site.await_line("started", id)
    worker.signal(signal.SIGTERM)
    worker.await_said("asked")
    late = site.send(Note(number=3))
    site.open("a")
    assert worker.wait() == 0
    rows = site.check(ended=False)
    assert {rows[id].state for id in ids} == {"completed"}
    assert rows[late].state == "ready", "it claims no more"


def test_fault_17_a_second_signal_stops_at_once(site: Site) -> None:
    worker = site.worker(grace=3600.0).ready()
    ids = site.send_all([Hold(number=1, gate="a"), HoldInThread(number=2, gate="a")])
    for id in ids:
        site.await_line("started", id)
    worker.signal(signal.SIGTERM)
    worker.await_said("asked")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    rows = site.check(ended=False)
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("ready", 0)}


def test_fault_18_sigterm_during_start_up(site: Site) -> None:
    id = site.send(Note(number=1))
    worker = site.worker()
    worker.await_said("starting")
    assert worker.stop() in (0, -signal.SIGTERM)  # before or after it listens to signals
    assert not site.database.workers()
    site.worker()
    site.await_final(id)
    assert site.check()[id].failures == 0


@pytest.mark.parametrize("table, role", [("job", "claim"), ("leader", "leader")])
def test_fault_18_sigterm_during_a_claim_or_an_election(site: Site, table: str, role: str) -> None:
    worker = site.worker(grace=0.5).ready()
    first = site.send(Note(number=1))
    site.await_final(first)
    with site.database.connection(transaction=True) as operator:  # on SQLite, nobody else can write
        if not site.database.is_sqlite:
            operator.execute(f"LOCK TABLE remit.{table} IN ACCESS EXCLUSIVE MODE")
            site.await_blocked(role)
        worker.signal(signal.SIGTERM)
        worker.await_said("asked")
        operator.rollback()
    assert worker.wait() == 0
    second = site.send(Note(number=2))
    site.worker()
    site.await_final(first, second)
    rows = site.check()
    assert not any(row.failures for row in rows.values())


def test_fault_18_a_claim_that_never_returns_does_not_hold_the_worker(postgres_site: Site) -> None:
    site = postgres_site
    worker = site.worker(grace=0.5).ready()
    with site.database.connection(transaction=True) as operator:
        operator.execute("LOCK TABLE remit.job IN ACCESS EXCLUSIVE MODE")
        site.await_blocked("claim")
        assert worker.stop() == 0


def test_fault_19_as_pid_1(site: Site) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--pid", "--fork", "true"], check=False).returncode != 0:
        pytest.skip("NOT TESTED AS PID 1: unshare --pid is not permitted here")
    outer = site.worker(prefix=[unshare, "--pid", "--fork"], grace=0.3).ready()
    [inner] = psutil.Process(outer.pid).children()
    id = site.send(HoldInProcess(number=1, gate="a"))
    site.await_line("started", id)
    os.kill(inner.pid, signal.SIGTERM)
    assert outer.wait() == 0
    row = site.check(ended=False)[id]
    assert (row.state, row.failures) == ("ready", 0)
    assert not site.database.workers()


def test_fault_20_jobs_that_were_claimed_and_not_started_go_back_at_once(site: Site) -> None:
    worker = site.worker(grace=3600.0).ready()
    notes = site.send_all([Note(number=n) for n in range(1500)])
    pauses = site.send_all([Pause(number=n, gate="a") for n in range(300)], priority=1)
    site.await_final(*notes)
    until(lambda: len(site.ledger.jobs("started")) == len(notes) + 5, "every slot of the queue is taken")

    def states(state: str) -> int:
        return sum(row.state == state for row in site.database.rows().values())

    assert states("running") > 5, "some were claimed ahead"
    worker.signal(signal.SIGTERM)
    until(lambda: (states("running"), states("ready")) == (5, 295), "what has not started goes back")
    assert worker.process.poll() is None
    site.open("a")
    assert worker.wait() == 0
    site.worker()
    site.await_final()
    rows = site.check()
    assert not any(row.failures for row in rows.values())
    assert all(site.ledger.count("started", id) == 1 for id in pauses[:20])


def test_fault_20_a_shutdown_between_two_suspects_looks_like_no_crash(site: Site) -> None:
    """A worker runs suspects one at a time, and leaves the others to others."""
    victim = site.worker()
    ids = site.send_all([Hold(number=n, gate="a") for n in range(3)])
    for id in ids:
        site.await_line("started", id)
    victim.kill()
    worker = site.worker(grace=3600.0)
    until(lambda: site.ledger.count("started") == 4, "one suspect runs again")
    until(lambda: sum(row.state == "ready" for row in site.database.rows().values()) == 2, "the others wait")
    other = site.worker(grace=3600.0)
    until(lambda: site.ledger.count("started") == 5, "another worker runs one of them")
    worker.signal(signal.SIGTERM)
    other.signal(signal.SIGTERM)
    site.open("a")
    assert (worker.wait(), other.wait()) == (0, 0)
    site.worker()
    site.await_final()
    rows = site.check()
    assert not any(row.failures for row in rows.values())
