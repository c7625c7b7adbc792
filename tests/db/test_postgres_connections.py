"""A connection that died while it was idle is replaced: the first call afterwards succeeds, for nothing had run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import psycopg
import pytest

from remit.db.opening import open_store
from remit.db.transaction import Role
from remit.jobs import operations as jobs
from tests.servers import Proxy

SIZE = 8


def end_all(url: str) -> None:
    """End every session of remit's, and wait until they are gone."""
    ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'remit:%'"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        while connection.execute(f"SELECT 1 {ours}").fetchone():
            pass


def dies_by_the_server(url: str, proxy: Proxy) -> tuple[str, Callable[[], None]]:
    return url, lambda: end_all(url)


def dies_by_the_network(url: str, proxy: Proxy) -> tuple[str, Callable[[], None]]:
    return proxy.through(url), proxy.cut


deaths = pytest.mark.parametrize("death", [dies_by_the_server, dies_by_the_network])
roles = pytest.mark.parametrize("role", [Role.HANDLER, Role.CLIENT])


@deaths
@roles
async def test_the_first_session_after_all_have_died_begins(
    postgres_url: str, proxy: Proxy, death: Callable[[str, Proxy], tuple[str, Callable[[], None]]], role: Role
) -> None:
    url, kill = death(postgres_url, proxy)
    database = open_store(url).database(role)
    everybody = asyncio.Barrier(SIZE)

    async def hold() -> None:
        async with database.session() as session:
            await session.execute("SELECT 1")
            await everybody.wait()

    for _ in range(2):
        await asyncio.gather(*(hold() for _ in range(SIZE)))
        kill()
        async with database.session() as session:
            assert await session.execute("SELECT 1") == [(1,)]
        await asyncio.gather(*(hold() for _ in range(SIZE)))
        kill()
        for atomic in (True, False):
            assert await database.run(jobs.store, atomic=atomic)
    await database.close()


@deaths
@roles
def test_the_first_blocking_session_after_all_have_died_begins(
    postgres_url: str, proxy: Proxy, death: Callable[[str, Proxy], tuple[str, Callable[[], None]]], role: Role
) -> None:
    url, kill = death(postgres_url, proxy)
    database = open_store(url).blocking(role)
    everybody = threading.Barrier(SIZE)

    def hold() -> None:
        with database.session() as session:
            session.connection.execute("SELECT 1")
            everybody.wait()

    def hold_all() -> None:
        threads = [threading.Thread(target=hold) for _ in range(SIZE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    hold_all()
    kill()
    with database.session() as session:
        assert session.connection.execute("SELECT 1").fetchone() == (1,)
    hold_all()
    kill()
    for atomic in (True, False):
        assert database.run(jobs.store, atomic=atomic)
    database.close()
