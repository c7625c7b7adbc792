"""Faults 21 to 28: the server restarts, ends sessions, refuses, locks; the network cuts, freezes, pools."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from remit import Remit
from remit.errors import StoreError
from tests.faults.application import (
    Deposit,
    DepositInThread,
    Hold,
    HoldInProcess,
    HoldInThread,
    Note,
    NoteInThread,
    Parent,
    yard,
)
from tests.faults.harness import Site, until
from tests.faults.network import SelectiveProxy
from tests.servers import FAST, PgBouncer, PostgresServer, Proxy

pytestmark = pytest.mark.fault


@pytest.fixture
def own_site(own_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    """A site on a server that may be stopped."""
    with Site(own_postgres_server.create_database(), tmp_path / "site") as site:
        yield site


@pytest.fixture
def far_site(postgres_url: str, proxy: Proxy, tmp_path: Path) -> Iterator[Site]:
    """A site whose workers reach the server through a proxy, while the oracle reaches it directly."""
    with Site(postgres_url, tmp_path / "site", worker_url=proxy.through(postgres_url)) as site:
        yield site


@pytest.fixture
def network(postgres_server: PostgresServer) -> Iterator[SelectiveProxy]:
    """A network that can go silent for one kind of session."""
    with contextlib.closing(SelectiveProxy(postgres_server.port)) as opened:
        yield opened


@pytest.fixture
def muted_site(postgres_url: str, network: SelectiveProxy, tmp_path: Path) -> Iterator[Site]:
    """A site whose workers reach the server through that network."""
    with Site(postgres_url, tmp_path / "site", worker_url=network.through(postgres_url)) as site:
        yield site


def one_of_each(first: int) -> list[object]:
    return [
        Note(number=first), NoteInThread(number=first), Parent(number=first, children=2), Deposit(number=first),
        DepositInThread(number=first),
    ]  # fmt: skip


def test_fault_21_the_server_restarts_under_load(own_site: Site, own_postgres_server: PostgresServer) -> None:
    site, server = own_site, own_postgres_server
    workers = site.started(2, lease=5.0)
    for number, stop in enumerate([server.restart, server.crash]):
        for n in range(60):
            for job in one_of_each(1000 * number + 10 * n):
                site.send_surely(job, attempts=100)
            if n == 30:
                stop()
                if not server.running:
                    server.start()
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert all(worker.process.poll() is None for worker in workers)
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.mark.parametrize("role", ["claim", "complete", "leader"])
def test_fault_21_the_server_crashes_during_a_statement(
    own_site: Site, own_postgres_server: PostgresServer, role: str
) -> None:
    site, server = own_site, own_postgres_server
    worker = site.worker(lease=5.0).ready()
    held = site.send(Parent(number=10, children=2, gate="a"))
    site.await_line("started", held)
    with contextlib.suppress(psycopg.OperationalError), site.database.connection(transaction=True) as operator:
        if role == "complete":
            operator.execute("SELECT FROM remit.job FOR UPDATE")
            site.open("a")
        else:
            table = "job" if role == "claim" else "leader"
            operator.execute(f"LOCK TABLE remit.{table} IN ACCESS EXCLUSIVE MODE")
        site.await_blocked(role)
        server.crash()
    server.start()
    site.open("a")
    later = site.send_surely(Note(number=1))
    site.await_final(held, later)
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert worker.process.poll() is None


def test_fault_21_the_server_crashes_during_a_migration(own_postgres_server: PostgresServer) -> None:
    server = own_postgres_server
    url = server.create_database()
    app = Remit(url, domains=[])
    failures: list[Exception] = []

    def migrate() -> None:
        try:
            app.sync.migrate()
        except StoreError as error:
            failures.append(error)

    blocker = psycopg.connect(url)
    blocker.execute("CREATE SCHEMA remit")  # uncommitted: the migration has begun, and waits here
    thread = threading.Thread(target=migrate)
    thread.start()
    with psycopg.connect(url, autocommit=True) as look:
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'remit:migrate' AND wait_event_type = 'Lock'"
        until(lambda: look.execute(waits).fetchone(), "the migration waits")
    server.crash()
    thread.join()
    blocker.close()
    server.start()
    assert len(failures) == 1
    assert app.store.schema_version() is None, "a half of a migration leaves nothing"
    assert app.sync.migrate()
    assert app.store.schema_version() is not None


def test_fault_21_a_worker_stops_while_the_server_is_away(own_site: Site, own_postgres_server: PostgresServer) -> None:
    site = own_site
    worker = site.worker(lease=5.0, grace=0.5).ready()
    ids = site.send_all([Hold(number=1, gate="a"), HoldInThread(number=2, gate="a")])
    for id in ids:
        site.await_line("started", id)
    own_postgres_server.stop()
    assert worker.stop() == 0
    own_postgres_server.start()
    site.open("a")
    site.worker(lease=5.0)  # the runs are suspects now: a lease that is lost once more would cost an attempt
    site.await_final(*ids)
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}


def test_fault_22_every_kind_of_session_is_terminated(postgres_site: Site, postgres_server: PostgresServer) -> None:
    site = postgres_site
    worker = site.worker(lease=5.0).ready()
    ended = {}
    for round_, role in enumerate(["claim", "complete", "heartbeat", "listen", "leader", "handler", "client"]):
        held = site.send(Parent(number=1000 * round_ + 500, children=1, gate=f"gate-{round_}"))
        deposit = site.send(Deposit(number=1000 * round_ + 600, gate=f"gate-{round_}"))
        site.await_line("started", held)
        site.await_line("deposited", deposit)
        ended[role] = postgres_server.terminate(application_name=f"remit:{role}")
        site.open(f"gate-{round_}")
        ids = [site.send_surely(job) for job in one_of_each(1000 * round_)]
        site.await_final(held, deposit, *ids)
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert all(ended.values()), f"sessions by role: {ended}"
    assert not any(row.failures for row in rows.values() if not row.name.startswith("yard.deposit"))
    assert worker.process.poll() is None
    assert "lease lost" not in worker.log


def test_fault_23_the_primary_becomes_read_only_for_a_while(
    postgres_site: Site, postgres_server: PostgresServer
) -> None:
    site = postgres_site
    worker = site.worker(lease=3.0).ready()
    held = site.send(Parent(number=10, children=2, gate="a"))
    site.await_line("started", held)
    name = site.url.rpartition("/")[2]

    def become(read_only: str) -> None:
        with psycopg.connect(postgres_server.url(), autocommit=True) as operator:
            operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {read_only}")
            operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    become("on")
    site.open("a")
    until(lambda: "completer cannot work" in worker.log, "it is told")
    with pytest.raises(StoreError):
        yard.sync.enqueue(Note(number=1))
    become("off")
    later = site.send_surely(Note(number=2))
    site.await_final(held, later)
    site.await_final()
    site.check()
    assert worker.process.poll() is None


def test_fault_23_the_new_primary_lacks_the_last_commits(site: Site) -> None:
    """A completion that was lost is done again; a run whose claim was lost is refused, with its messages."""
    worker = site.worker().ready()
    ended, held = site.send(Parent(number=10, children=2)), site.send(Parent(number=20, children=2, gate="a"))
    site.await_final(ended)
    site.await_line("started", held)
    site.database.execute("DELETE FROM remit.job WHERE causation IS NOT NULL")  # all of that commit
    site.database.execute(
        "UPDATE remit.job SET state = 'running', worker = %s, token = 1, finished_at = NULL, result = NULL"
        " WHERE id::text = %s",
        worker.id,
        ended,
    )
    site.database.execute("UPDATE remit.job SET state = 'ready', worker = NULL, token = 0 WHERE id::text = %s", held)
    site.await_line("started", ended, 2)
    site.await_line("started", held, 2)
    site.open("a")
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_24_the_connection_is_cut_around_the_commit_of_outcomes(far_site: Site, proxy: Proxy, when: str) -> None:
    site = far_site
    worker = site.worker().ready()
    ids = site.send_all([Parent(number=10 * n, children=2, gate="a") for n in range(1, 6)])
    for id in ids:
        site.await_line("started", id)
    cut = proxy.cut_on(b'"state":"completed"', side="client", when=when)
    site.open("a")
    cut.wait()
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert all(site.ledger.count("started", id) == 1 for id in ids)
    assert "outcome refused" not in worker.log, "no row means unknown here, not lost"


@pytest.mark.parametrize("side, failures", [("client", 1), ("server", 0)])
def test_fault_24_the_connection_is_cut_around_the_commit_of_a_transaction(
    far_site: Site, proxy: Proxy, side: str, failures: int
) -> None:
    """Cut on the client's side the server never hears of the commit; on the server's side it has committed."""
    site = far_site
    site.worker().ready()
    for number, job in enumerate([Deposit(number=1, gate="a"), DepositInThread(number=2, gate="b")]):
        id = site.send(job)
        site.await_line("deposited", id)
        cut = proxy.cut_on(b"COMMIT", side=side, when="before")
        site.open("ab"[number])
        cut.wait()
        site.await_final(id)
        rows = site.check()
        assert (rows[id].state, rows[id].failures) == ("completed", failures)


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_24_the_connection_is_cut_around_the_commit_of_an_enqueue(
    far_site: Site, proxy: Proxy, when: str
) -> None:
    site = far_site
    site.worker()
    with Remit(site.worker_url, domains=[yard]).bound() as far:
        cut = proxy.cut_on(b'"number":4712', side="client", when=when)
        id = site.send(Note(number=4712))
        assert cut.happened
        far.sync.__exit__()
    site.await_final(id)
    assert len(site.check()) == 1


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_fault_25_serialization_failures_in_every_statement(
    postgres_site: Site, postgres_server: PostgresServer, isolation: str
) -> None:
    site = postgres_site
    name = site.url.rpartition("/")[2]
    with psycopg.connect(postgres_server.url(), autocommit=True) as operator:
        operator.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    workers = site.started(2, lease=5.0)
    for n in range(40):
        for job in one_of_each(100 * n):
            site.send_surely(job, attempts=1000)
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert all(worker.process.poll() is None for worker in workers)


def test_fault_25_a_statement_that_is_cancelled_is_repeated(
    postgres_site: Site, postgres_server: PostgresServer
) -> None:
    """As a statement that ran into a time limit is: the server gives both the same error."""
    site = postgres_site
    worker = site.worker(lease=5.0).ready()
    ids = site.send_all([Parent(number=10 * n, children=1, gate="a") for n in range(1, 4)])
    for id in ids:
        site.await_line("started", id)
    waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit:complete'"
    with site.database.connection(transaction=True) as operator:
        operator.execute("SELECT FROM remit.job FOR UPDATE")
        site.open("a")
        site.await_blocked("complete")
        with psycopg.connect(postgres_server.url(), autocommit=True) as administrator:

            def cancelled_often_enough() -> bool:
                administrator.execute(waiting)
                return "completer cannot work" in worker.log

            until(cancelled_often_enough, "it is logged")
        operator.rollback()
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert worker.log.count("completer cannot work") == 1, "once"


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_fault_25_time_limits_of_the_database_do_not_hold_for_workers(
    postgres_site: Site, postgres_server: PostgresServer, setting: str
) -> None:
    site = postgres_site
    name = site.url.rpartition("/")[2]
    with psycopg.connect(postgres_server.url(), autocommit=True) as operator:
        operator.execute(f"ALTER DATABASE {name} SET {setting} = '60ms'")
    worker = site.worker(lease=5.0).ready()
    ids = site.send_all([Parent(number=10 * n, children=1, gate="a") for n in range(1, 4)])
    for id in ids:
        site.await_line("started", id)
    with site.database.connection(transaction=True) as operator:
        operator.execute(f"SET LOCAL {setting} = 0")
        operator.execute("SELECT FROM remit.job FOR UPDATE")
        site.open("a")
        site.await_blocked("complete")
        time.sleep(0.2)  # more than the limit: a statement that has it fails meanwhile
        operator.rollback()
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert "completer cannot work" not in worker.log


def test_fault_25_a_deadlock_with_the_application(postgres_site: Site, postgres_server: PostgresServer) -> None:
    site = postgres_site
    name = site.url.rpartition("/")[2]
    with psycopg.connect(postgres_server.url(), autocommit=True) as operator:
        operator.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")  # remit's sessions are the victims
    site.worker(lease=5.0).ready()
    plug = site.send(Parent(number=0, children=1, gate="plug"))
    ids = sorted(site.send_all([Parent(number=10 * n, children=1, gate="a") for n in range(1, 4)]))
    for id in (plug, *ids):
        site.await_line("started", id)
    with (
        site.database.connection(transaction=True) as plugger,
        site.database.connection(transaction=True) as gatekeeper,
        site.database.connection(transaction=True) as operator,
    ):
        operator.execute("SET LOCAL deadlock_timeout = '60s'")
        update = "UPDATE remit.job SET label = 'mine' WHERE id = %s"
        plugger.execute(update, [plug])
        site.open("plug")
        site.await_blocked("complete")  # so that the outcomes of the three go into one statement, the next
        gatekeeper.execute(update, [ids[1]])
        operator.execute(update, [ids[2]])
        site.open("a")
        for id in ids:
            site.await_line("ended", id)
        plugger.rollback()
        site.await_state(plug, "completed")
        site.await_blocked("complete")  # it holds the first row, and waits for the second
        waiting = threading.Thread(target=operator.execute, args=(update, [ids[0]]))
        waiting.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = ''"
        until(lambda: site.database.execute(waits), "the operator waits for the first row")
        gatekeeper.rollback()  # now it wants the third
        waiting.join()
        operator.commit()
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert "remit:complete ERROR:  deadlock detected" in postgres_server.log.read_text()


def test_fault_26_the_server_has_no_connection_left(tmp_path: Path) -> None:
    settings = {**FAST, "max_connections": "16", "superuser_reserved_connections": "0", "reserved_connections": "0"}
    with (
        PostgresServer(settings=settings) as server,
        Site(server.create_database(), tmp_path / "site") as site,
        contextlib.ExitStack() as hogs,
    ):
        worker = site.worker(lease=5.0).ready()
        first = site.send(Note(number=1))
        site.await_final(first)
        for role in ("claim", "complete", "listen", "handler"):
            server.terminate(application_name=f"remit:{role}")
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                hogs.enter_context(contextlib.closing(psycopg.connect(site.url)))
        ids = [site.send(Note(number=n)) for n in range(2, 6)]
        until(lambda: "cannot work" in worker.log or site.database.rows()[ids[-1]].state == "completed", "it is told")
        hogs.close()
        deposit = site.send(Deposit(number=10))
        site.await_final(deposit, *ids)
        site.check()
        assert worker.log.count("cannot listen") <= 2, "what goes on is told once"


def test_fault_26_more_transactions_than_the_pool_has_connections(postgres_site: Site) -> None:
    site = postgres_site
    site.worker(lease=5.0)
    ids = site.send_all([Deposit(number=n, gate="a") for n in range(16)])
    until(lambda: len(site.ledger.jobs("started")) == 16, "all run")
    until(lambda: len(site.ledger.jobs("deposited")) >= 8, "the pool is in use")
    site.open("a")
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}


def test_fault_27_a_worker_behind_a_transaction_pooler(pgbouncer: PgBouncer, postgres_url: str, tmp_path: Path) -> None:
    through = pgbouncer.through(postgres_url)
    with Site(postgres_url, tmp_path / "site", worker_url=through, pooler=True) as site:
        victim = site.worker().ready()
        held = site.send_all([Hold(number=1, gate="a"), HoldInThread(number=2, gate="a"), Deposit(number=3, gate="a")])
        for id in held:
            site.await_line("started", id)
        other = site.worker().ready()
        victim.kill()
        for n in range(40):
            site.send_all([*one_of_each(100 * n)])
        site.send(HoldInProcess(number=5, gate="a"))
        site.open("a")
        with Remit(through, domains=[yard], pooler=True).bound() as pooled:  # a client behind it too
            site.send_all([Note(number=n) for n in range(5000, 5050)])
            pooled.sync.__exit__()
        site.await_final()
        rows = site.check()
        assert {row.state for row in rows.values()} == {"completed"}
        assert other.stop() == 0
        assert not site.database.workers() - {victim.id}


def test_fault_28_notifications_are_lost_in_a_half_open_listen_session(
    muted_site: Site, network: SelectiveProxy
) -> None:
    site = muted_site
    worker = site.worker(grace=0.5).ready()
    first = site.send(Note(number=1))
    site.await_final(first)
    network.silence(b"remit:listen")
    for n in range(2, 6):  # each is picked up without a notification, and does not stop the next
        id = site.send(Note(number=n))
        site.await_final(id)
    site.check()
    assert worker.stop() == 0


@pytest.mark.parametrize("role", ["claim", "complete", "leader", "handler"])
def test_fault_28_a_session_of_any_kind_is_half_open_for_a_while(
    muted_site: Site, network: SelectiveProxy, role: str
) -> None:
    site = muted_site
    worker = site.worker(lease=30.0).ready()  # it must not be lost: without this session no run would start again
    held, deposit = site.send(Parent(number=10, children=2, gate="a")), site.send(Deposit(number=1, gate="a"))
    site.await_line("started", held)
    site.await_line("deposited", deposit)
    network.silence(f"remit:{role}".encode())
    site.open("a")
    site.send(Note(number=2))
    site.await_line("ended", held)
    network.speak()
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert worker.stop() == 0
    assert "lease lost" not in worker.log


def test_fault_28_the_session_of_the_heartbeat_is_half_open_for_a_while(
    muted_site: Site, network: SelectiveProxy
) -> None:
    site = muted_site
    worker = site.worker(lease=2.0).ready()
    held, deposit = site.send(Parent(number=10, children=2, gate="a")), site.send(Deposit(number=1, gate="a"))
    site.await_line("started", held)
    site.await_line("deposited", deposit)
    network.silence(b"remit:heartbeat")
    until(lambda: "starts again under a new id" in worker.log, "it fences itself")
    network.speak()
    site.open("a")
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert worker.stop() == 0


@pytest.mark.soak
def test_fault_28_a_worker_stops_while_none_of_its_sessions_answers(far_site: Site, proxy: Proxy) -> None:
    """It takes a while: the driver tries to cancel each statement, and waits for an answer to that as well."""
    site = far_site
    worker = site.worker(lease=5.0, grace=0.5).ready()
    id = site.send(Hold(number=1, gate="a"))
    site.await_line("started", id)
    proxy.freeze()
    worker.signal(signal.SIGTERM)
    assert worker.wait(100) == 0
    proxy.thaw()
    site.open("a")
    site.worker(lease=5.0, url=site.url)
    site.await_final(id)
    assert site.check()[id].failures == 0


def test_fault_33_a_partition_longer_than_the_lease(far_site: Site, proxy: Proxy) -> None:
    site = far_site
    worker = site.worker(lease=1.0).ready()
    ids = site.send_all([Hold(number=1, gate="a"), Parent(number=10, children=2, gate="a")])
    for id in ids:
        site.await_line("started", id)
    near = site.worker(lease=1.0, url=site.url).ready()
    proxy.freeze()
    until(lambda: worker.id not in site.database.workers(), "it is declared dead")
    until(lambda: "starts again under a new id" in worker.log, "it has fenced itself")
    site.open("a")
    site.await_final()
    proxy.thaw()
    near.stop()
    later = site.send(Note(number=1))
    site.await_final(later)
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert worker.process.poll() is None
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
