"""Faults 1 to 10: processes die, one after the other or all at once, at the worst moments."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.faults.application import (
    Breed,
    Crash,
    CrashInProcess,
    Deposit,
    Hold,
    HoldInProcess,
    HoldInThread,
    Neighbour,
    Note,
    Parent,
)
from tests.faults.harness import Site, alive, until

pytestmark = pytest.mark.fault


def test_fault_01_killed_after_a_claim_before_the_start(site: Site) -> None:
    ids = site.send_all([Note(number=n) for n in range(8)])
    victim = site.worker(die_at="claim:after:1")
    victim.wait()
    assert not site.ledger.jobs("started")
    site.worker()
    site.await_final(*ids)
    rows = site.check()
    assert {rows[id].state for id in ids} == {"completed"}
    assert not any(rows[id].failures for id in ids)


def test_fault_02_killed_in_the_middle_of_a_handler(site: Site) -> None:
    victim = site.worker()
    jobs = [Hold(number=1, gate="a"), HoldInThread(number=2, gate="a"), Parent(number=10, children=2, gate="a")]
    ids = site.send_all(jobs)
    for id in ids:
        site.await_line("started", id)
    victim.kill()
    site.open("a")
    site.worker()
    site.await_final()
    rows = site.check()
    assert [rows[id].state for id in ids] == ["completed"] * 3
    assert [rows[id].failures for id in ids] == [0, 0, 0]


def test_fault_02_killed_in_the_middle_of_a_transaction(site: Site) -> None:
    victim = site.worker()
    id = site.send(Deposit(number=1, gate="a"))
    site.await_line("deposited", id)
    victim.kill()
    site.open("a")
    site.worker()
    site.await_final(id)
    assert site.check()[id].state == "completed"


def test_fault_03_killed_after_an_outside_effect_before_its_outcome_is_written(site: Site) -> None:
    id = site.send(Parent(number=10, children=3))
    site.worker(die_at="finish:before:1").wait()
    assert site.ledger.count("ended", id) == 1
    site.worker()
    site.await_final(id)
    site.await_final()
    assert site.check()[id].state == "completed"
    assert site.ledger.count("ended", id) == 2, "outside effects happen at least once"


def test_fault_04_killed_after_the_commit_of_an_outcome_before_it_is_known(site: Site) -> None:
    id = site.send(Parent(number=10, children=3))
    site.worker(die_at="finish:after:1").wait()
    site.worker()
    site.await_final()
    assert site.check()[id].state == "completed"
    assert site.ledger.count("started", id) == 1, "its outcome was committed, so it must not run again"


def test_fault_05_killed_between_two_outcomes_of_a_batch_sqlite(sqlite_site: Site) -> None:
    site = sqlite_site
    victim = site.worker(die_at="sql:INSERT INTO remit_job")  # after the outcomes of the batch, before their messages
    ids = site.send_all([Parent(number=10 * n, children=2, gate="a") for n in range(1, 6)])
    for id in ids:
        site.await_line("started", id)
    site.open("a")
    victim.wait()
    rows = site.database.rows()
    assert {rows[id].state for id in ids} == {"running"}, "all of the batch was rolled back"
    site.worker()
    site.await_final()
    rows = site.check()
    assert {rows[id].state for id in ids} == {"completed"}


def test_fault_05_killed_between_two_outcomes_of_a_batch_postgres(postgres_site: Site) -> None:
    site = postgres_site
    victim = site.worker()
    ids = site.send_all([Parent(number=10 * n, children=2, gate="a") for n in range(1, 6)])
    for id in ids:
        site.await_line("started", id)
    with site.database.connection(transaction=True) as operator:
        operator.execute("SELECT FROM remit.job WHERE id = %s FOR UPDATE", [ids[2]])  # the batch waits at its third
        site.open("a")
        site.await_blocked("complete")
        victim.kill()
    site.worker()
    site.await_final()
    rows = site.check()
    assert {rows[id].state for id in ids} == {"completed"}


def test_fault_07_the_children_of_a_killed_parent_end(site: Site) -> None:
    victim = site.worker()
    id = site.send(HoldInProcess(number=1, gate="a"))
    site.await_line("started", id)
    [line] = site.ledger.lines("started", id)
    child = line["pid"]
    assert child != victim.pid
    victim.kill()
    until(lambda: not alive(child), "the child has ended")
    assert site.ledger.count("ended", id) == 0
    site.open("a")
    site.worker()
    site.await_final(id)
    assert site.check()[id].state == "completed"


@pytest.mark.parametrize("how", ["sleep", "seize"])
def test_fault_07_the_children_of_a_killed_parent_end_with_all_that_they_started(sqlite_site: Site, how: str) -> None:
    site = sqlite_site
    victim = site.worker(grace=60)
    id = site.send(Breed(number=1, how=how))
    until(lambda: site.ledger.count("bred", id) == 3, "it has started a command and a fork")
    victim.kill()
    bred = [line["pid"] for line in site.ledger.lines("bred", id)]
    try:
        until(lambda: not any(map(alive, bred)), "all of them have ended")
    finally:
        for pid in filter(alive, bred):
            os.kill(pid, signal.SIGKILL)


def test_fault_07_a_child_whose_answer_its_parent_never_read_ends(sqlite_site: Site) -> None:
    site = sqlite_site
    victim = site.worker()
    id = site.send(HoldInProcess(number=1, gate="a"))
    site.await_line("started", id)
    [line] = site.ledger.lines("started", id)
    victim.freeze()
    site.open("a")
    site.await_line("ended", id)
    until(lambda: len(psutil.Process(line["pid"]).net_connections("unix")) > 0, "its socket is open")
    victim.kill()
    try:
        until(lambda: not alive(line["pid"]), "the child has ended")
    finally:
        if alive(line["pid"]):
            os.kill(line["pid"], signal.SIGKILL)


def test_fault_08_a_job_that_kills_its_worker_is_dead_after_its_attempts(site: Site) -> None:
    site.worker(
        lease=1.0, application="tests.faults.keeper"
    ).ready()  # leads, rescues, and knows none of the jobs below
    first = site.worker(lease=1.0)
    neighbours = site.send_all([Neighbour(number=n, gate="a") for n in range(3)])
    for id in neighbours:
        site.await_line("started", id)
    culprit = site.send(Crash(number=10, how="segfault"), attempts=2)
    first.wait()
    site.open("a")
    deaths = 1
    while deaths < 3:
        site.worker(lease=1.0).wait()
        deaths += 1
    site.worker(lease=1.0)
    site.await_final()
    rows = site.check()
    assert rows[culprit].state == "dead"
    assert "killed its worker" in (rows[culprit].reason or "")
    assert rows[culprit].failures == 2
    assert site.ledger.count("started", culprit) == 3, "a first crash charges nobody"
    for id in neighbours:
        assert (rows[id].state, rows[id].failures) == ("completed", 0)


def test_fault_08_a_job_that_kills_its_child_process_harms_nobody(site: Site) -> None:
    worker = site.worker().ready()
    neighbour = site.send(HoldInProcess(number=1, gate="a"))
    culprits = [site.send(CrashInProcess(number=2, how=how), attempts=2) for how in ("segfault", "abort")]
    for id in culprits:
        row = site.await_state(id, "dead")
        assert "the process of the handler died: signal SIG" in (row.reason or "")
    site.open("a")
    site.await_final()
    rows = site.check()
    assert (rows[neighbour].state, rows[neighbour].failures) == ("completed", 0)
    assert worker.stop() == 0


@pytest.mark.parametrize("point", ["declare_dead:after:1", "rescue:after:1"])
def test_fault_09_the_leader_is_killed_in_the_middle_of_a_rescue(site: Site, point: str) -> None:
    leader = site.worker(die_at=point).ready()
    until(lambda: site.database.leader() == leader.id, "it leads")
    victim = site.worker()
    ids = site.send_all([HoldInThread(number=n, gate="a") for n in range(12)])  # more than one worker has slots for
    until(lambda: len(site.ledger.jobs("started")) == 12, "both are full")
    site.worker().ready()
    victim.kill()
    leader.wait()
    site.open("a")
    site.await_final(*ids)
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}


def test_fault_09_the_leader_is_killed_in_the_middle_of_pruning(site: Site) -> None:
    short = site.send_all([Note(number=n) for n in range(20)], keep=0.0)
    long = site.send_all([Note(number=n) for n in range(20)])
    leader = site.worker(die_at="prune_kept:after:1", prune_every=0.1)
    leader.wait()
    site.worker(prune_every=0.1)
    until(lambda: not site.database.rows().keys() & set(short), "what was to be pruned is pruned")
    site.await_final(*long)
    site.check(gone=short)


def test_fault_10_every_worker_is_killed_at_once(site: Site) -> None:
    workers = [site.worker() for _ in range(3)]
    jobs = [
        [Hold(number=n, gate="a"), HoldInThread(number=n, gate="a"), Parent(number=100 * n, children=2, gate="a")]
        for n in range(1, 11)
    ]
    ids = site.send_all([job for row in jobs for job in row])
    quick = site.send_all([Note(number=n) for n in range(50)])
    site.await_final(*quick)
    until(lambda: len(site.ledger.jobs("started") - set(quick)) == len(ids), "everything runs")
    for worker in workers:
        worker.signal(signal.SIGKILL)
    for worker in workers:
        worker.wait()
    site.open("a")
    site.worker()
    site.worker()
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}
