"""Faults 87 to 91: what the review of the design found between a claim, a completion and the caller's transaction."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.faults.application import DepositByHand, Note, yard
from tests.faults.harness import Site, until
from tests.servers import Proxy

pytestmark = pytest.mark.fault


def test_fault_87_the_reply_to_a_claim_is_lost(postgres_url: str, proxy: Proxy, tmp_path: Path) -> None:
    with Site(postgres_url, tmp_path / "site", worker_url=proxy.through(postgres_url)) as site:
        worker = site.worker().ready()
        lost = proxy.cut_on(b'"number":4711', side="server", when="before")
        id = site.send(Note(number=4711))
        lost.wait()
        site.await_final(id)
        rows = site.check()
        assert (rows[id].state, rows[id].failures) == ("completed", 0)
        assert site.ledger.count("started", id) == 1
        assert worker.process.poll() is None


def test_fault_88_a_rollback_after_run_complete_is_a_failure_and_is_retried(site: Site) -> None:
    site.worker()
    id = site.send(DepositByHand(number=1, rollback=True))
    site.await_final(id)
    rows = site.check()
    assert (rows[id].state, rows[id].failures) == ("completed", 1)
    assert site.ledger.count("started", id) == 2
    [(kind,)] = site.database.execute("SELECT kind FROM remit.failure")
    assert kind == "CompletionRolledBack"


def test_fault_89_a_swallowed_lost_lease_cannot_commit_when_the_worker_knows(site: Site) -> None:
    worker = site.worker().ready()
    id = site.send(DepositByHand(number=1, before="a", swallow=True))
    site.await_line("started", id)
    site.database.execute("DELETE FROM remit.worker")  # an operator, or another worker, declares it dead
    until(lambda: "starts again under a new id" in worker.log, "it knows")
    site.open("a")
    site.await_final(id)
    site.await_line("swallowed LeaseLost", id)
    rows = site.check()
    assert rows[id].state == "completed"
    assert site.ledger.count("started", id) == 2


def test_fault_89_a_swallowed_lost_lease_cannot_commit_when_only_the_server_knows(site: Site) -> None:
    site.worker()
    id = site.send(DepositByHand(number=1, before="a", swallow=True))
    site.await_line("started", id)
    site.database.execute("UPDATE remit.job SET token = token / 2")  # as if somebody else had claimed it
    site.open("a")
    site.await_final(id)
    site.await_line("swallowed LeaseLost", id)
    rows = site.check()
    assert rows[id].state == "completed"


def test_fault_90_an_enqueue_in_repeatable_read(postgres_site: Site) -> None:
    site = postgres_site
    site.worker()
    first = site.send(Note(number=1))
    site.await_final(first)
    with psycopg.connect(site.url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM effect")  # the snapshot is taken
        second = yard.sync.enqueue(Note(number=2), tx=connection).id
        site.send_all([Note(number=n) for n in range(3, 6)])  # others commit meanwhile
        connection.commit()
    site.ledger.write("sent", second)
    with psycopg.connect(site.url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        yard.sync.enqueue(Note(number=6), tx=connection)
        connection.rollback()
    site.await_final()
    rows = site.check()
    assert rows[second].state == "completed"
    assert 6 not in {row.number for row in rows.values()}


def test_fault_91_a_worker_that_started_on_an_empty_never_analysed_table(postgres_site: Site) -> None:
    """Its sessions, and their plans, are those of the empty table when the table is full."""
    site = postgres_site
    site.database.execute("ALTER TABLE remit.job SET (autovacuum_enabled = off)")
    worker = site.worker().ready()
    site.await_final(site.send(Note(number=1)))
    sessions = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name IN ('remit:claim', 'remit:complete')"
    )
    before = set(site.database.execute(sessions))
    site.app.sync.queues.pause("yard.quick")
    for first in range(0, 4_000, 2_000):
        site.send_all([Note(number=first + n) for n in range(2_000)])
    site.app.sync.queues.resume("yard.quick")
    left = "SELECT 1 FROM remit.job WHERE state <> 'completed' LIMIT 1"
    until(lambda: not site.database.execute(left), "all end")
    site.check()
    assert set(site.database.execute(sessions)) == before, worker.log
    assert site.database.execute("SELECT reltuples::integer FROM pg_class WHERE oid = 'remit.job'::regclass") == [(-1,)]
