"""Faults 11 to 13: a worker that is slow, or stands still for a while, and is not dead."""

from __future__ import annotations

import pytest

from tests.faults.application import Deposit, DepositByHand, Freeze, Hold, HoldInThread, Note, Parent, Seize
from tests.faults.harness import Site, WorkerProcess, until

pytestmark = pytest.mark.fault


def test_fault_11_a_blocked_event_loop_costs_no_lease(site: Site) -> None:
    blocked, observer = site.started(2, lease=2.0)
    observer_takes_none = site.send(Hold(number=1, gate="b"))
    id = site.send(Freeze(number=2, gate="a"))
    site.await_line("started", id)
    [row] = [row for row in site.database.rows().values() if row.id == id]
    if row.worker != blocked.id:
        blocked, observer = observer, blocked
    site.await_leases(observer, 2)
    until(lambda: "event loop blocked" in blocked.log, "it is told")
    assert f"by yard.freeze {id}" in blocked.log
    assert "in pass_blocking" in blocked.log, "the stack is in the log"
    assert site.database.rows()[id].worker == blocked.id
    site.open("a", "b")
    site.await_final(id, observer_takes_none)
    site.check()
    assert site.ledger.count("started", id) == 1
    assert "lease lost" not in blocked.log


def test_fault_12_a_gil_held_by_c_code_for_longer_than_the_lease(site: Site) -> None:
    victim = site.worker(lease=1.0).ready()
    id = site.send(Seize(number=1, seconds=3.0))
    site.await_line("started", id)
    site.worker(lease=1.0)
    site.await_final(id)
    rows = site.check()
    assert (rows[id].state, rows[id].failures) == ("completed", 0)
    until(lambda: "starts again under a new id" in victim.log, "it has noticed")
    for other in site.workers[1:]:
        other.stop()
    later = site.send(Note(number=2))
    site.await_final(later)
    assert victim.process.poll() is None, "it works again"
    site.check()


def frozen_while_others_take_over(site: Site, victim: WorkerProcess, ids: list[str]) -> None:
    """The victim stands; its jobs are rescued and end elsewhere; then it wakes up and ends its own runs of them."""
    victim.freeze()
    if site.database.is_sqlite:  # a stopped process keeps its lock: only an operator can declare it dead
        site.database.execute("DELETE FROM remit.worker WHERE id::text = %s", victim.id)
    site.open("a")
    site.await_final(*ids)
    victim.thaw()
    until(lambda: "starts again under a new id" in victim.log, "the zombie knows")


def test_fault_13_the_outcomes_and_messages_of_a_zombie_are_refused(site: Site) -> None:
    victim = site.worker().ready()
    jobs = [Hold(number=1, gate="a"), HoldInThread(number=2, gate="a"), Parent(number=10, children=3, gate="a")]
    ids = site.send_all(jobs)
    for id in ids:
        site.await_line("started", id)
    site.worker().ready()
    frozen_while_others_take_over(site, victim, ids)
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}
    site.await_line("ended", ids[1], 2)  # nobody can stop a thread: the zombie's came to its end too
    site.check()


def test_fault_13_the_transactions_of_a_zombie_are_refused(postgres_site: Site) -> None:
    site = postgres_site
    victim = site.worker().ready()
    jobs = [Deposit(number=1, gate="a"), DepositByHand(number=2, gate="a"), DepositByHand(number=3, gate="a")]
    ids = site.send_all(jobs)
    for id in ids:
        site.await_line("deposited", id)
    site.worker().ready()
    frozen_while_others_take_over(site, victim, ids)
    for id in ids[1:]:
        site.await_line("refused", id)
    site.await_final()
    rows = site.check()
    assert {rows[id].state for id in ids} == {"completed"}


def test_fault_13_on_sqlite_the_jobs_of_a_stopped_worker_wait_for_it(sqlite_site: Site) -> None:
    site = sqlite_site
    victim = site.worker().ready()
    ids = site.send_all([Hold(number=1, gate="a"), HoldInThread(number=2, gate="a"), Parent(number=10, children=2)])
    for id in ids[:2]:
        site.await_line("started", id)
    site.await_final(ids[2])
    observer = site.worker().ready()
    victim.freeze()
    site.await_leases(observer, 3)
    rows = site.database.rows()
    assert {rows[id].worker for id in ids[:2]} == {victim.id}
    assert victim.id in site.database.workers()
    victim.thaw()
    site.open("a")
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}
