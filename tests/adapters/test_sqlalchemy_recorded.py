"""Sessions publish what their objects recorded: in their transaction, once, and only what became of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from remit import Domain, Remit
from remit.adapters.sqlalchemy import ambient, publish_recorded
from remit.catalog import recorded_by, running_domain
from remit.errors import ForeignTransaction, OwnershipError
from tests.adapters.conftest import Place, migrated
from tests.adapters.shop import Oops, Order, Told, shop
from tests.client.railway import away


class Elsewhere(Domain):
    """Somebody else, whose handler runs."""


elsewhere = Elsewhere()


@pytest.fixture
def app(place: Place) -> Iterator[Remit]:
    app = place.application(require_tx=True)
    with app.bound(), app.sync:
        yield app


@pytest.fixture
def sessions(app: Remit, engine: sa.Engine) -> sessionmaker[Session]:
    sessions = sessionmaker(engine)
    publish_recorded(sessions)
    with sessions.begin() as session:
        session.add_all([Order(id=1), Order(id=2)])
    return sessions


def test_new_changed_and_deleted_objects_publish_in_the_commit(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        session.add(Order(id=3).tell(1, 2))
        session.get_one(Order, 1).tell(3).name = "changed"
        session.flush()
        session.delete(session.get_one(Order, 2).tell(4))
        session.flush()
        assert place.events() == []
        session.commit()
        assert place.events() == [1, 2, 3, 4]
        session.commit()
    assert (place.events(), place.orders()) == ([1, 2, 3, 4], [1, 3])


def test_an_object_that_only_recorded_is_not_forgotten(place: Place, sessions: sessionmaker[Session]) -> None:
    """Nobody holds it, and no column of it changed: SQLAlchemy itself would drop it."""
    with sessions.begin() as session:
        session.get_one(Order, 1).tell(1)
        gc.collect()
    assert place.events() == [1]


def test_what_is_recorded_after_the_flush_is_published_before_the_commit(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1)
        events = order.events
        order.name = "changed"
        session.flush()
        events.record(Told(number=1))  # not through the attribute, so that nothing is told of it
        order.tell(2)
        session.flush()
        events.record(Told(number=3))
        session.delete(order)
        session.flush()
        events.record(Told(number=4))
    assert place.events() == [1, 2, 3, 4]


def test_what_is_recorded_on_an_object_whose_row_is_gone_already_is_published(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1)
        session.delete(order)
        session.flush()
        order.tell(1)
        session.rollback()
        session.delete(order)
        session.flush()
        order.tell(2)
        del order
        session.commit()
    assert (place.events(), place.orders()) == ([2], [2])


def test_a_query_that_flushes_publishes_too_and_a_rollback_takes_it_back(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1).tell(1)
        session.execute(sa.select(Order)).all()
        order.tell(2)
        session.rollback()
        order.name = "of the second try"
        order.tell(3)
        session.commit()
    assert place.events() == [3], "nothing stale, nothing twice"


def test_events_that_were_recorded_and_never_flushed_go_with_the_rollback(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1)
        events = order.events
        session.flush()
        events.record(Told(number=1))
        session.rollback()
        order.name = "again"
        session.commit()
    assert place.events() == []


def test_a_new_object_that_was_rolled_back_publishes_when_it_is_added_again(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    order = Order(id=3).tell(1)
    with sessions() as session:
        session.add(order)
        session.flush()
        order.tell(2)
        session.flush()
        order.tell(3)
        session.rollback()
    assert place.events() == []
    assert order.id == 3
    with sessions.begin() as session:
        session.add(order)
    assert (place.events(), place.orders()) == ([1, 2, 3], [1, 2, 3])


def test_a_flush_that_fails_publishes_nothing_and_the_next_try_does(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        order = Order(id=1).tell(1)
        session.add(order)
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        order.id = 3
        session.add(order)
        session.commit()
    assert (place.events(), place.orders()) == ([1], [1, 2, 3])


def test_a_commit_that_fails_in_the_database_publishes_nothing(postgres_url: str) -> None:
    place = migrated(postgres_url)
    engine = sa.create_engine(place.address("psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE orders ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"))
    app, sessions = place.application(), sessionmaker(engine)
    publish_recorded(sessions)
    with app.bound(), app.sync, sessions() as session:
        first, second = Order(id=1, name="same").tell(1), Order(id=2, name="same").tell(2)
        session.add_all([first, second])
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert place.events() == []
        second.name = "another"
        session.add_all([first, second])
        session.commit()
        assert place.events() == [1, 2]
    engine.dispose()


def test_savepoints_keep_what_they_commit_and_lose_what_they_roll_back(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        one, two = session.get_one(Order, 1), session.get_one(Order, 2)
        one.tell(1)
        with suppress(Oops), session.begin_nested():
            two.tell(2)
            session.flush()
            two.tell(3)
            raise Oops
        with session.begin_nested():
            two.tell(4)
        one.tell(5)
    assert place.events() == [1, 4, 5]


def test_a_savepoint_that_was_released_goes_with_the_rollback_around_it(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    order = Order(id=3).tell(1)
    with sessions() as session:
        session.add(Order(id=4))  # or pysqlite would begin with the savepoint, and commit with its end
        with session.begin_nested():
            session.add(order)
        session.rollback()
        session.add(order)
        session.commit()
    assert place.events() == [1]


def test_closing_a_session_without_commit_publishes_nothing(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        session.get_one(Order, 1).tell(1)
        session.flush()
    with sessions() as session:
        session.get_one(Order, 1).name = "changed"
        session.commit()
    assert place.events() == []


def test_a_domain_that_cannot_publish_fails_the_commit_and_the_object_holds_its_events(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    order = Order(id=3).tell(1)
    mark = running_domain.set(elsewhere)
    try:
        with sessions() as session:
            session.add(order)
            with pytest.raises(OwnershipError, match=r"A handler of elsewhere cannot publish shop\.told"):
                session.commit()
            session.rollback()
    finally:
        running_domain.reset(mark)
    assert (place.events(), place.orders()) == ([], [1, 2])
    [recorded] = recorded_by(order)
    assert len(recorded) == 1


def test_a_store_that_refuses_fails_the_commit(place: Place, sessions: sessionmaker[Session]) -> None:
    with away(place.url), sessions() as session:
        session.add(Order(id=3).tell(1))
        with pytest.raises(ForeignTransaction, match="a database without remit's tables"):
            session.commit()
        session.rollback()
    assert (place.events(), place.orders()) == ([], [1, 2])


def test_with_an_ambient_session_nothing_is_published_twice(place: Place, engine: sa.Engine, app: Remit) -> None:
    both = place.application(ambient=[ambient(sessions := sessionmaker(engine))], require_tx=True)
    publish_recorded(sessions)
    with both.bound(), both.sync, sessions.begin() as session:
        session.add(Order(id=1).tell(1))
        shop.sync.publish(Told(number=2))
        session.flush()
    assert sorted(place.events()) == [1, 2]


def test_a_session_without_the_hook_keeps_its_hands_off(place: Place, engine: sa.Engine, app: Remit) -> None:
    publish_recorded(sessionmaker(engine))
    with Session(engine) as session:
        order = Order(id=1).tell(1)
        session.add(order)
        session.commit()
        assert place.events() == []
        shop.sync.publish_recorded(order, tx=session)
        session.commit()
    assert place.events() == [1]


async def test_async_sessions_do_the_same(async_place: tuple[Place, str], async_engine: AsyncEngine) -> None:
    place, _ = async_place
    sessions = async_sessionmaker(async_engine, expire_on_commit=False)
    publish_recorded(sessions)
    app = place.application(require_tx=True)
    with app.bound():
        async with app:
            new = Order(id=3).tell(1)
            async with sessions() as session:
                session.add_all([Order(id=1), new])
                await session.flush()
                await session.rollback()
                session.add_all([Order(id=1), new])
                await session.commit()
                (await session.get_one(Order, 1)).tell(2)
                gc.collect()
                with suppress(Oops):
                    async with session.begin_nested():
                        new.tell(3)
                        await session.flush()
                        raise Oops
                assert place.events() == [1]
                await session.commit()
            async with sessions.begin() as session:
                (await session.get_one(Order, 1)).tell(4)
        assert place.events() == [1, 2, 4]


async def test_tasks_publish_what_their_own_session_holds(postgres_url: str) -> None:
    place = migrated(postgres_url)
    engine = create_async_engine(place.address("asyncpg"))
    sessions = async_sessionmaker(engine)
    publish_recorded(sessions)

    async def work(number: int) -> None:
        async with sessions() as session:
            session.add(Order(id=number).tell(number))
            await session.flush()
            await asyncio.sleep(0.01)
            await (session.commit() if number % 2 else session.rollback())

    app = place.application()
    with app.bound():
        async with app:
            await asyncio.gather(*(work(number) for number in range(10)))
    await engine.dispose()
    assert sorted(place.events()) == place.orders() == [1, 3, 5, 7, 9]
