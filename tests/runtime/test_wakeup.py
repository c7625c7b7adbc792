"""The wakeup: a worker sleeps only when no commit can pass it by (concurrency.md C11, F24)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from remit import schema
from remit.db import fallbacks
from remit.db.opening import open_store
from remit.db.postgres import wakeup as listening
from remit.db.sqlite import SqliteStore
from remit.db.sqlite import wakeup as watching
from remit.db.sqlite.inotify import Inotify
from remit.db.store import Store, Wakeup
from remit.db.transaction import Role
from remit.execution import operations as execution
from remit.execution.model import Allotment
from remit.jobs import operations
from remit.jobs.ids import new_id, new_token
from remit.runtime import operations as workers


def job() -> dict[str, object]:
    return {
        "id": new_id(), "line": 7, "version": 1, "priority": 0, "attempts": 3, "domain": "d", "queue": "d.q",
        "name": "d.j", "encoding": "json", "payload": "{}",
    }  # fmt: skip


class Rings:
    """What a producer does with a wakeup: it wakes up."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.news = ""
        self.count = 0

    def __call__(self, news: str) -> None:
        self.count += 1
        self.heard.set()
        self.news = news


@pytest.fixture
def store(store_url: str) -> Store:
    store = open_store(store_url)
    schema.migrate(store)
    return store


@pytest.fixture
async def postgres(postgres_url: str) -> Store:
    store = open_store(postgres_url)
    schema.migrate(store)
    return store


async def enqueue(store: Store) -> None:
    database = store.database(Role.CLIENT)
    identity = await database.run(operations.store, atomic=False)
    await database.run(lambda tx: operations.enqueue(tx, [job()], store=identity), atomic=False)
    await database.close()


@pytest.fixture
async def rings() -> Rings:
    return Rings()


@pytest.fixture
async def wakeup(store: Store, rings: Rings) -> AsyncIterator[Wakeup]:
    wakeup = store.wakeup(rings)
    yield wakeup
    await wakeup.close()


async def test_an_enqueue_wakes_a_worker_that_sleeps(store: Store, wakeup: Wakeup, rings: Rings) -> None:
    await wakeup.arm()
    await enqueue(store)
    async with asyncio.timeout(10):
        await rings.heard.wait()


async def test_it_rings_again_after_the_worker_was_awake(store: Store, wakeup: Wakeup, rings: Rings) -> None:
    for _ in range(3):
        await wakeup.arm()
        await enqueue(store)
        async with asyncio.timeout(10):
            await rings.heard.wait()
        rings.heard.clear()
        await wakeup.disarm()


async def test_a_worker_does_not_sleep_while_an_enqueue_that_skipped_its_notification_is_in_flight(
    postgres: Store, postgres_url: str, rings: Rings
) -> None:
    identity = postgres.blocking(Role.CLIENT).run(operations.store, atomic=False)
    wakeup = postgres.wakeup(rings)
    with psycopg.connect(postgres_url) as caller:
        # Nobody sleeps: this enqueue does not notify, and holds the gate until its commit is visible.
        await operations.enqueue(postgres.adopt(caller), [job()], store=identity)
        assert await wakeup.arm() <= listening.SLOWEST, "it keeps looking"
        caller.commit()
        assert await wakeup.arm() == fallbacks.WAKEUP, "now holding the gate proves that none is in flight"
    assert not rings.heard.is_set()
    await wakeup.close()


async def test_an_enqueue_notifies_only_while_a_worker_sleeps(postgres: Store, postgres_url: str, rings: Rings) -> None:
    wakeup = postgres.wakeup(rings)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as listener:
        await listener.execute("LISTEN remit_work")

        async def notified() -> int:
            await listener.execute("SELECT 1")
            return len([_ async for _ in listener.notifies(timeout=0)])

        await enqueue(postgres)
        assert await notified() == 0
        await wakeup.arm()
        await enqueue(postgres)
        assert await notified() == 1
        await wakeup.disarm()
        await enqueue(postgres)
        assert await notified() == 0
    await wakeup.close()


async def test_one_worker_sleeps_behind_the_gate_and_the_others_hear_it_too(postgres: Store, rings: Rings) -> None:
    other = Rings()
    first, second = postgres.wakeup(rings), postgres.wakeup(other)
    assert await first.arm() == fallbacks.WAKEUP
    assert await second.arm() <= listening.SLOWEST
    await enqueue(postgres)
    async with asyncio.timeout(10):
        await rings.heard.wait()
        await other.heard.wait()
    await first.disarm()
    assert await second.arm() == fallbacks.WAKEUP, "the gate is free for the next"
    await first.close()
    await second.close()


async def test_a_lost_listening_session_wakes_the_worker_and_is_replaced(postgres: Store, rings: Rings) -> None:
    wakeup = postgres.wakeup(rings)
    assert await wakeup.arm() == fallbacks.WAKEUP
    database = postgres.database(Role.CLIENT)
    async with database.session() as session:
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit:listen'"
        )
    await database.close()
    async with asyncio.timeout(10):
        await rings.heard.wait()
        while await wakeup.arm() != fallbacks.WAKEUP:
            pass
    await wakeup.close()


async def test_behind_a_pooler_nobody_listens_and_workers_look_ever_less_often(postgres_url: str) -> None:
    wakeup = open_store(postgres_url, pooler=True).wakeup(lambda _: None)
    pauses = [await wakeup.arm() for _ in range(40)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == listening.SLOWEST
    await wakeup.disarm()
    assert await wakeup.arm() < pauses[-1]


@pytest.mark.parametrize("pace", [watching.PACE, watching.HEARING_PACE])
async def test_sqlite_looks_less_often_the_longer_nothing_happens(pace: tuple[tuple[float, float], ...]) -> None:
    untils, intervals = zip(*pace, strict=True)
    assert list(untils) == sorted(untils)
    assert list(intervals) == sorted(intervals)
    assert untils[-1] == float("inf")


async def test_on_sqlite_a_worker_wakes_where_the_system_does_not_tell_of_writes(
    sqlite_url: str, rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(_file: Path) -> Inotify:
        raise OSError

    monkeypatch.setattr(watching, "Inotify", deaf)
    store = open_store(sqlite_url)
    schema.migrate(store)
    wakeup = store.wakeup(rings)
    await test_it_rings_again_after_the_worker_was_awake(store, wakeup, rings)
    await wakeup.close()


async def test_on_sqlite_no_commit_passes_by_a_worker_that_goes_to_sleep(sqlite_url: str) -> None:
    """Another thread commits without pause, while a worker settles, looks, sleeps and is roused again and again."""
    store = SqliteStore(sqlite_url)
    schema.migrate(store)
    rings = Rings()
    wakeup = store.wakeup(rings)
    connection, other = store.connect(), store.connect()
    connection.execute("CREATE TABLE t (a)")
    for number in range(200):
        heard = rings.heard
        await wakeup.arm()
        commit = asyncio.to_thread(other.execute, "INSERT INTO t VALUES (?)", [number])
        task = asyncio.create_task(commit)
        while connection.execute("SELECT count(*) FROM t").fetchone() != (number + 1,):
            async with asyncio.timeout(10):
                await heard.wait()
            heard.clear()
            await wakeup.arm()
        await task
        if number % 2:
            await wakeup.disarm()
    connection.close()
    other.close()
    await wakeup.close()


async def test_a_claim_that_leaves_the_suspect_which_it_locked_rings_for_it(postgres: Store, rings: Rings) -> None:
    """Another worker may have gone past the locked row meanwhile, and must look again."""
    wakeup, database = postgres.wakeup(rings), postgres.database(Role.CLAIM)
    identity = await database.run(operations.store, atomic=False)
    rows = [{**job(), "priority": priority} for priority in (5, 0, 0)]
    await database.run(lambda tx: operations.enqueue(tx, rows, store=identity), atomic=False)
    async with database.session() as session:
        await session.execute("UPDATE remit.job SET suspect = 1 WHERE priority = 5")
    worker = new_id()
    await database.run(lambda tx: workers.register(tx, worker, host="here", pid=1, about="{}"), atomic=False)

    async def claim(quota: int) -> int:
        allotments = [Allotment(7, "d.q", quota)]
        claims, _ = await database.run(
            lambda tx: execution.claim(tx, allotments, worker=worker, token=new_token()), atomic=False
        )
        return len(claims)

    await wakeup.arm()
    assert await claim(1) == 1
    async with asyncio.timeout(10):
        await rings.heard.wait()
    rings.heard.clear()
    assert await claim(2) == 2, "the suspect is among them"
    await enqueue(postgres)
    async with asyncio.timeout(10):
        await rings.heard.wait()
    assert rings.count == 2, "nothing was left, nobody rang"
    await wakeup.close()
    await database.close()
