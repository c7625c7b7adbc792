"""The session that runs here is the transaction of what is sent, and nothing is guessed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from remit import Remit
from remit.adapters.sqlalchemy import ambient
from remit.errors import (
    AutocommitTransaction,
    ForeignTransaction,
    InvalidArgument,
    TransactionError,
    TransactionRequired,
    UnsupportedHandle,
)
from tests.adapters.conftest import Place, migrated
from tests.adapters.shop import Base, Oops, Order, Pack, Told, shop


@contextmanager
def application(place: Place, sessions: Any, **options: Any) -> Iterator[Remit]:
    app = place.application(ambient=[ambient(sessions)], **options)
    with app.bound(), app.sync:
        yield app


def error_of(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except BaseException as error:
        return error
    return None


# --- blocking


@pytest.fixture(params=["sessionmaker", "class", "subclass", "scoped"])
def sessions(request: pytest.FixtureRequest, engine: sa.Engine) -> Iterator[Any]:
    """Everything that makes sessions of its own."""

    class Ours(Session):
        def __init__(self, bind: Any = engine, **options: Any) -> None:
            super().__init__(bind, **options)

    match request.param:
        case "sessionmaker":
            yield sessionmaker(engine)
        case "class":
            yield Ours
        case "subclass":
            yield sessionmaker(engine, class_=Ours)
        case _:
            registry = scoped_session(sessionmaker(engine))
            yield registry
            registry.remove()


def test_what_is_sent_is_committed_with_the_session(place: Place, sessions: Any) -> None:
    with application(place, sessions):
        with sessions() as session:
            session.add(Order(id=1))
            shop.sync.publish(Told(number=1))
            shop.sync.enqueue(Pack(number=1))
            shop.sync.publish_many([Told(number=2), Told(number=3)])
            shop.sync.enqueue_named("pack", {"number": 2})
            assert (place.events(), place.jobs()) == ([], 0)
            session.commit()
            assert (place.events(), place.jobs(), place.orders()) == ([1, 2, 3], 2, [1])
            session.add(Order(id=2))  # the next transaction of the same session
            shop.sync.publish(Told(number=4))
            session.rollback()
        assert (place.events(), place.orders()) == ([1, 2, 3], [1])


def test_a_session_without_an_open_transaction_is_none(place: Place, sessions: Any) -> None:
    with application(place, sessions):
        with sessions() as session:
            shop.sync.publish(Told(number=1))  # nothing has begun
            assert place.events() == [1]
            session.add(Order(id=1))
            session.commit()
            shop.sync.publish(Told(number=2))
            assert place.events() == [1, 2]
            session.get(Order, 1)
        shop.sync.publish(Told(number=3))
        assert place.events() == [1, 2, 3]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("listens", ["before", "after"])
def test_what_is_sent_when_the_session_has_decided_goes_by_itself(
    place: Place, engine: sa.Engine, ends: str, listens: str
) -> None:
    sessions = sessionmaker(engine)

    def then(session: Session) -> None:
        shop.sync.publish(Told(number=2))
        shop.sync.enqueue(Pack(number=2))

    if listens == "before":
        sa.event.listen(sessions, f"after_{ends}", then)
    with application(place, sessions):
        if listens == "after":
            sa.event.listen(sessions, f"after_{ends}", then)
        with sessions() as session:
            session.add(Order(id=1))
            session.flush()
            shop.sync.publish(Told(number=1))
            getattr(session, ends)()
            assert (place.events(), place.jobs()) == ([1, 2] if ends == "commit" else [2], 1)
            session.add(Order(id=2))
            shop.sync.publish(Told(number=3))  # the next transaction of this session is ambient again
            session.close()
        assert 3 not in place.events()


def test_a_savepoint_that_is_rolled_back_takes_along_what_was_sent_in_it(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions), sessions.begin() as session:
        session.add(Order(id=1))
        shop.sync.publish(Told(number=1))
        with suppress(Oops), session.begin_nested():
            session.add(Order(id=2))
            shop.sync.publish(Told(number=2))
            raise Oops
        with session.begin_nested():
            shop.sync.publish(Told(number=3))
        shop.sync.publish(Told(number=4))
    assert (place.events(), place.orders()) == ([1, 3, 4], [1])


def test_an_explicit_transaction_wins(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions), sessions() as session:
        session.get(Order, 1)  # begins, and on SQLite it only reads
        with engine.begin() as connection:
            shop.sync.publish(Told(number=1), tx=connection)
        assert place.events() == [1]


def test_two_open_sessions_are_ambiguous_and_an_ended_one_is_forgotten(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions), sessions() as outer:
        outer.get(Order, 1)
        with sessions() as inner:
            inner.get(Order, 1)
            with pytest.raises(TransactionError) as refusal:
                shop.sync.publish(Told(number=0))
            assert str(refusal.value) == (
                "2 SQLAlchemy sessions have a transaction open here, and nothing was sent: pass tx=, the one that this "
                "belongs to"
            )
            shop.sync.publish(Told(number=1), tx=inner)
            inner.commit()
        shop.sync.publish(Told(number=2))
        outer.commit()
    assert place.events() == [1, 2]


def test_sessions_of_another_factory_are_nobodys_business(place: Place, engine: sa.Engine) -> None:
    sessions, others = sessionmaker(engine), sessionmaker(engine)
    with application(place, sessions), others() as session:
        session.get(Order, 1)
        shop.sync.publish(Told(number=1))
        assert place.events() == [1]


def test_two_ambient_transactions_of_different_kinds_are_ambiguous(place: Place, engine: sa.Engine) -> None:
    sessions, others = sessionmaker(engine), sessionmaker(engine)
    app = place.application(ambient=[ambient(sessions), ambient(others)])
    with app.bound(), app.sync, sessions() as one, others() as other:
        one.get(Order, 1)
        other.get(Order, 1)
        with pytest.raises(TransactionError) as refusal:
            shop.sync.publish(Told(number=0))
        assert str(refusal.value) == (
            "several transactions are open here (sqlalchemy.orm.session.Session and sqlalchemy.orm.session.Session), "
            "and nothing was sent: pass tx="
        )


def test_threads_have_transactions_of_their_own(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    both = threading.Barrier(2)

    def work(number: int) -> None:
        with sessions() as session:
            session.get(Order, number)
            both.wait()
            if number == 1:  # SQLite has one writer
                shop.sync.publish(Told(number=number))
                session.commit()
            both.wait()
            if number == 2:
                session.rollback()
                session.get(Order, number)
                shop.sync.publish(Told(number=number))
                session.rollback()

    with application(place, sessions), ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [1, 2]))
    assert place.events() == [1]


async def test_a_thread_that_inherits_the_context_does_not_use_the_session(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions), sessions() as session:
        session.get(Order, 1)
        with pytest.raises(TransactionError) as refusal:
            await asyncio.to_thread(shop.sync.publish, Told(number=1))
        assert str(refusal.value) == (
            "the SQLAlchemy session whose transaction is open here was begun by another task or thread, and nothing "
            "was sent: pass tx=, if this belongs to it, or begin a session of this task's own"
        )
        await shop.publish(Told(number=2))  # the async face on a blocking session
        session.commit()
    assert place.events() == [2]


def test_a_session_that_is_dropped_without_being_closed_is_forgotten(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions):
        session: Session | None = sessions()
        assert session is not None
        session.get(Order, 1)
        del session
        gc.collect()
        shop.sync.publish(Told(number=1))
        assert place.events() == [1]


def test_with_require_tx_an_ambient_session_is_enough(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions, require_tx=True):
        with pytest.raises(TransactionRequired):
            shop.sync.publish(Told(number=1))
        with sessions.begin() as session:
            session.add(Order(id=1))
            shop.sync.publish(Told(number=2))
    assert place.events() == [2]


# --- misuse


def test_a_session_of_another_database_is_foreign(place: Place, other_place: Place) -> None:
    elsewhere = sa.create_engine(other_place.address("pysqlite" if place.is_sqlite else "psycopg"))
    sessions = sessionmaker(elsewhere)
    with application(place, sessions), sessions() as session:
        session.get(Order, 1)
        with pytest.raises(ForeignTransaction) as refusal:
            shop.sync.publish(Told(number=1))
        assert str(refusal.value) == (
            "this transaction belongs to another database than the application's: nothing was written"
        )
        session.rollback()
    elsewhere.dispose()
    assert (place.events(), other_place.events()) == ([], [])


def test_a_session_of_another_engine_is_foreign(postgres_url: str, sqlite_url: str) -> None:
    Remit(sqlite_url, domains=[]).sync.migrate()
    elsewhere = sa.create_engine(postgres_url.replace("://", "+psycopg://"))
    sessions = sessionmaker(elsewhere)
    with application(Place(sqlite_url), sessions), sessions() as session:
        session.execute(sa.text("SELECT 1"))
        with pytest.raises(
            ForeignTransaction, match="is open on PostgreSQL, but this application's jobs are in SQLite"
        ):
            shop.sync.publish(Told(number=1))
    elsewhere.dispose()


def test_a_session_in_autocommit_mode_is_refused(postgres_url: str) -> None:
    place = migrated(postgres_url)
    engine = sa.create_engine(place.address("psycopg"), isolation_level="AUTOCOMMIT")
    sessions = sessionmaker(engine)
    with application(place, sessions), sessions() as session:
        session.get(Order, 1)
        with pytest.raises(AutocommitTransaction, match="this SQLAlchemy Session is in autocommit mode"):
            shop.sync.publish(Told(number=1))
    engine.dispose()
    assert place.events() == []


def test_a_session_whose_transaction_has_failed_is_refused(place: Place, engine: sa.Engine) -> None:
    sessions = sessionmaker(engine)
    with application(place, sessions):
        with sessions() as session:
            session.add(Order(id=1))
            session.commit()
        with sessions() as session:
            session.add(Order(id=1))
            assert isinstance(error_of(session.flush), sa.exc.IntegrityError)
            with pytest.raises(TransactionError, match="this transaction has failed already"):
                shop.sync.publish(Told(number=1))
    assert place.events() == []


@pytest.mark.parametrize("thing", [None, "sessions", AsyncSession, Order], ids=str)
def test_what_makes_no_sessions_is_refused(thing: Any) -> None:
    with pytest.raises(
        InvalidArgument, match="pass a sessionmaker, an async_sessionmaker, a scoped session of one, or"
    ):
        ambient(thing)


def test_without_the_library_the_adapter_names_it(sqlite_url: str) -> None:
    for library, words in (("sqlalchemy", "pip install 'sqlalchemy>=2'"), ("django", "pip install django")):
        code = f"""
import sys
sys.modules["{library}"] = None
from remit.errors import MissingExtra
try:
    import remit.adapters.{library}
except MissingExtra as error:
    assert {words!r} in str(error), error
else:
    raise SystemExit("imported")
"""
        subprocess.run([sys.executable, "-c", code], check=True)


# --- asyncio


@pytest.fixture(params=["factory", "scoped", "with-a-class", "with-a-factory"])
def async_sessions(request: pytest.FixtureRequest, async_engine: AsyncEngine) -> Any:
    class Ours(Session):
        pass

    match request.param:
        case "factory":
            return async_sessionmaker(async_engine)
        case "scoped":
            return async_scoped_session(async_sessionmaker(async_engine), scopefunc=asyncio.current_task)
        case "with-a-class":
            return async_sessionmaker(async_engine, sync_session_class=Ours)
        case _:
            return async_sessionmaker(async_engine, sync_session_class=sessionmaker(class_=Ours))


async def test_an_async_session_is_ambient_from_begin_to_end(
    async_place: tuple[Place, str], async_sessions: Any
) -> None:
    place, _ = async_place
    with application(place, async_sessions):
        async with async_sessions() as session:
            await shop.publish(Told(number=0))  # has not begun
            async with session.begin():
                await shop.publish(Told(number=1))  # is its first statement
                session.add(Order(id=1))
                await session.flush()
                async with session.begin_nested() as savepoint:
                    await shop.publish(Told(number=2))
                    await savepoint.rollback()
                await shop.enqueue(Pack(number=1))
                assert (place.events(), place.jobs()) == ([0], 0)
            assert (place.events(), place.jobs(), place.orders()) == ([0, 1], 1, [1])
            session.add(Order(id=2))  # begins by itself
            await shop.publish(Told(number=3))
            await session.rollback()
            assert place.events() == [0, 1]
            await shop.publish(Told(number=4))
        assert place.events() == [0, 1, 4]


async def test_two_async_factories_are_told_apart(async_place: tuple[Place, str], async_engine: AsyncEngine) -> None:
    place, _ = async_place
    sessions, others = async_sessionmaker(async_engine), async_sessionmaker(async_engine)
    with application(place, sessions):
        async with others() as session:
            await session.get(Order, 1)
            await shop.publish(Told(number=1))
    assert place.events() == [1]


async def test_tasks_have_transactions_of_their_own(async_place: tuple[Place, str], async_engine: AsyncEngine) -> None:
    place, driver = async_place
    sessions = async_sessionmaker(async_engine)
    count = 1 if driver == "aiosqlite" else 5

    async def work(number: int, commits: bool) -> None:
        async with sessions() as session:
            session.add(Order(id=number))
            await shop.publish(Told(number=number))
            if commits:
                await session.commit()

    with application(place, sessions):
        await asyncio.gather(*(work(number, number % 2 == 0) for number in range(count)))
        assert sorted(place.events()) == place.orders() == [number for number in range(count) if number % 2 == 0]


async def test_a_task_inside_a_transaction_is_not_part_of_it(
    async_place: tuple[Place, str], async_engine: AsyncEngine
) -> None:
    place, _ = async_place
    sessions = async_sessionmaker(async_engine)
    ended = asyncio.Event()

    async def afterwards() -> None:
        await ended.wait()
        await shop.publish(Told(number=3))

    async def with_a_session_of_its_own() -> None:
        async with sessions() as own:
            await own.begin()
            await shop.publish(Told(number=4))

    with application(place, sessions):
        async with sessions.begin() as session:
            await session.get(Order, 1)
            with pytest.raises(TransactionError, match="was begun by another task or thread"):
                await asyncio.create_task(shop.publish(Told(number=1)))
            await asyncio.create_task(shop.publish(Told(number=2), tx=session))
            await session.commit()
            await asyncio.create_task(with_a_session_of_its_own())
            late = asyncio.create_task(afterwards())
        ended.set()
        await late
        assert place.events() == [2, 3]


async def test_the_blocking_face_cannot_wait_for_it_but_can_under_run_sync(
    async_place: tuple[Place, str], async_engine: AsyncEngine
) -> None:
    place, _ = async_place
    sessions = async_sessionmaker(async_engine)
    with application(place, sessions):
        async with sessions.begin() as session:
            await session.get(Order, 1)
            with pytest.raises(UnsupportedHandle, match="cannot wait for a AsyncSession"):
                shop.sync.publish(Told(number=1))
            await session.run_sync(lambda _: shop.sync.publish(Told(number=2)))
            assert place.events() == []
        assert place.events() == [2]


async def test_an_async_session_of_another_database_is_foreign(sqlite_url: str, tmp_path: Any) -> None:
    Remit(sqlite_url, domains=[]).sync.migrate()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'bare.db'}")
    sessions = async_sessionmaker(engine)
    with application(Place(sqlite_url), sessions):
        async with sessions.begin() as session:
            await session.run_sync(lambda inner: Base.metadata.create_all(inner.connection()))
            with pytest.raises(ForeignTransaction, match="a database without remit's tables"):
                await shop.publish(Told(number=1))
    await engine.dispose()
