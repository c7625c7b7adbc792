"""The servers of the tests do what the tests rely on."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.servers import PgBouncer, PostgresServer, Proxy

NUMBERS = "CREATE TABLE number (n integer)"


def numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM number ORDER BY n")]


def test_postgres_is_18_and_utf8(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.info.server_version // 10_000 == 18
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_a_created_database_is_empty_and_another_each_time(postgres_server: PostgresServer) -> None:
    first, second = postgres_server.create_database(), postgres_server.create_database()
    with psycopg.connect(first) as connection:
        connection.execute(NUMBERS)
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('number')").fetchone() == (None,)


def test_a_database_is_copied_from_a_template(postgres_server: PostgresServer) -> None:
    template = postgres_server.create_database()
    with psycopg.connect(template) as connection:
        connection.execute(NUMBERS)
        connection.execute("INSERT INTO number VALUES (1)")
    assert numbers(postgres_server.create_database(template=template.rpartition("/")[2])) == [1]


def test_a_database_is_dropped_under_its_users(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    with psycopg.connect(url) as connection:
        postgres_server.drop_database(url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_committed_rows_survive_restart_and_crash_on_the_same_port(own_postgres_server: PostgresServer) -> None:
    server = own_postgres_server
    url = server.create_database()
    with psycopg.connect(url) as connection:
        connection.execute(NUMBERS)
    for n, stop in enumerate([server.stop, server.crash]):
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO number VALUES (%s)", (n,))
        stop()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
    server.restart()
    assert numbers(url) == [0, 1]


def test_sessions_are_terminated_by_name_and_by_pid(postgres_server: PostgresServer, postgres_url: str) -> None:
    with (
        psycopg.connect(postgres_url, application_name="victim") as named,
        psycopg.connect(postgres_url) as numbered,
        psycopg.connect(postgres_url, autocommit=True) as bystander,
    ):
        assert postgres_server.terminate(application_name="victim") == 1
        assert postgres_server.terminate(pid=numbered.info.backend_pid) == 1
        for victim in (named, numbered):
            with pytest.raises(psycopg.OperationalError):
                victim.execute("SELECT 1")
        bystander.execute("SELECT 1")


@pytest.mark.fault
def test_a_server_goes_when_its_parent_is_killed() -> None:
    program = """
import sys, time
from devtools.postgres import FAST, PostgresServer
server = PostgresServer(settings=FAST)
print(server.pid, server.log.parent, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        pid, folder = parent.stdout.readline().split()
        assert Path(folder).is_dir()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def test_pgbouncer_pools_by_transaction(pgbouncer: PgBouncer, postgres_url: str) -> None:
    url = pgbouncer.through(postgres_url)
    clients = [psycopg.connect(url, prepare_threshold=None) for _ in range(30)]  # more than the pool has
    backends = set()
    for client in clients:
        row = client.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        backends.add(row[0])
        client.commit()
    assert len(backends) == 1
    for client in clients:
        client.close()


def test_pgbouncer_gives_a_session_away_between_transactions(pgbouncer: PgBouncer, postgres_url: str) -> None:
    url = pgbouncer.through(postgres_url)
    with psycopg.connect(url, prepare_threshold=None) as first, psycopg.connect(url, prepare_threshold=None) as second:
        first.execute("SET application_name = 'leaked'")
        first.execute("CREATE TEMP TABLE mine (n integer)")
        first.commit()
        assert second.execute("SELECT to_regclass('mine') IS NOT NULL").fetchone() == (True,)


def test_the_proxy_is_transparent_until_told_otherwise(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.through(postgres_url)) as connection:
        assert connection.execute("SELECT repeat('x', 3000000)").fetchone() == ("x" * 3_000_000,)
        assert proxy.connections == 1


def test_a_cut_drops_connections_and_lets_new_ones_in(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.through(postgres_url)
    with psycopg.connect(url) as connection:
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1")


def commit_a_number(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO number VALUES (1)")
        connection.commit()


@pytest.mark.parametrize(
    "side,when,committed",
    [("client", "before", []), ("client", "after", [1]), ("server", "before", [1])],
)
def test_a_commit_is_cut(proxy: Proxy, postgres_url: str, side: str, when: str, committed: list[int]) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as direct:
        direct.execute(NUMBERS)
        cut = proxy.cut_on(b"COMMIT", side=side, when=when)  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError):
            commit_a_number(proxy.through(postgres_url))
        cut.wait()
        while direct.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone():
            time.sleep(0.01)  # the server still executes what it got
    assert numbers(postgres_url) == committed


async def test_a_reply_that_arrives_is_the_last_one(proxy: Proxy, postgres_url: str) -> None:
    cut = proxy.cut_on(lambda data: b"SELECT 1" in data, side="server", when="after")
    async with await psycopg.AsyncConnection.connect(proxy.through(postgres_url)) as connection:
        await (await connection.execute("SELECT 1")).fetchone()
        await cut.reached()
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 2")


async def test_a_frozen_network_is_silent_and_then_delivers(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.through(postgres_url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        proxy.freeze()
        query = asyncio.create_task(connection.execute("SELECT 1"))
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            await psycopg.AsyncConnection.connect(url, connect_timeout=2)
        assert not query.done()
        proxy.thaw()
        assert await (await query).fetchone() == (1,)


def test_a_delay_holds_every_reply(proxy: Proxy, postgres_url: str) -> None:
    with psycopg.connect(proxy.through(postgres_url)) as connection:
        proxy.delay(0.1)
        began = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - began >= 0.2
        proxy.delay(0)


def test_a_refusing_proxy_keeps_the_connections_it_has(proxy: Proxy, postgres_url: str) -> None:
    url = proxy.through(postgres_url)
    with psycopg.connect(url) as connection:
        proxy.refuse()
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
    proxy.accept()
    psycopg.connect(url).close()
