"""Recorded events go the way of the state of their objects, in every way in which SQLAlchemy moves or discards it.

docs/transactions.md holds the table of these ways; each row is a test here or in `test_sqlalchemy_recorded.py`.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import Session, make_transient, make_transient_to_detached, scoped_session, sessionmaker

from remit import Remit
from remit.adapters.sqlalchemy import publish_recorded
from remit.catalog import recorded_by
from tests.adapters.conftest import Place
from tests.adapters.shop import Line, Oops, Order, Seen, shop


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


def detached(sessions: sessionmaker[Session], id: int = 1) -> Order:
    with sessions() as session:
        return session.get_one(Order, id)


def held(order: object) -> list[Any]:
    """The numbers of the events that an object holds."""
    recordings: list[Any] = recorded_by(order)
    return [each.number for recorded in recordings for each in recorded._events]


# --- merge


def test_merge_moves_the_events_with_the_state(place: Place, sessions: sessionmaker[Session]) -> None:
    order = detached(sessions).tell(1)
    order.name = "changed"
    with sessions.begin() as session:
        merged = session.merge(order)
        assert (held(order), held(merged)) == ([], [1])
        session.merge(order)
    with sessions.begin() as session:
        session.merge(order)
    assert place.events() == [1], "once"
    assert place.query("SELECT name FROM orders WHERE id = 1") == [("changed",)]


def test_merge_of_new_objects_and_of_what_hangs_on_them_moves_all_events(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    order = Order(id=3, lines=[Line(id=7).tell(2), Line().tell(3)]).tell(1)
    order.trail.record(Seen(number=4))
    with sessions.begin() as session:
        session.merge(order)
    assert sorted(place.events()) == [1, 2, 3, 4]
    assert held(order) == []


def test_merge_onto_an_object_with_events_of_its_own_publishes_both(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    order = detached(sessions).tell(1)
    with sessions.begin() as session:
        session.get_one(Order, 1).tell(2)
        session.merge(order)
    assert sorted(place.events()) == [1, 2]


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("how", ["rollback", "close", "savepoint"])
def test_what_was_merged_gets_its_events_back_when_the_transaction_is_rolled_back(
    place: Place, sessions: sessionmaker[Session], how: str, flushed: bool
) -> None:
    order = detached(sessions).tell(1)
    order.name = "changed"
    with sessions() as session:
        if how == "savepoint":
            session.get_one(Order, 2).name = "kept"  # or pysqlite would begin with the savepoint
            session.flush()
        with suppress(Oops), session.begin_nested() if how == "savepoint" else suppress(Oops):
            session.merge(order)
            if flushed:
                session.flush()
            raise Oops
        match how:
            case "rollback":
                session.rollback()
            case "savepoint":
                session.commit()
            case _:
                pass
    assert (place.events(), held(order)) == ([], [1])
    with sessions.begin() as session:
        session.merge(order)
    assert place.events() == [1]


def test_merge_of_an_object_of_the_session_changes_nothing(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        with session.no_autoflush:
            assert session.merge(order) is order
        assert held(order) == [1]
    assert place.events() == [1]


# --- what discards changes


def refresh(session: Session, order: Order) -> None:
    session.refresh(order)


def refresh_for_update(session: Session, order: Order) -> None:
    session.refresh(order, with_for_update=True)


def expire(session: Session, order: Order) -> None:
    session.expire(order)


def expire_all(session: Session, _: Order) -> None:
    session.expire_all()


def populate_existing(session: Session, _: Order) -> None:
    with session.no_autoflush:
        session.scalars(sa.select(Order).execution_options(populate_existing=True)).all()


def get_anew(session: Session, _: Order) -> None:
    with session.no_autoflush:
        session.get(Order, 1, populate_existing=True)


@pytest.mark.parametrize(
    "discard", [refresh, refresh_for_update, expire, expire_all, populate_existing, get_anew],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_what_discards_a_change_discards_its_events(
    place: Place, sessions: sessionmaker[Session], discard: Callable[[Session, Order], None]
) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        order.trail.record(Seen(number=2))
        order.name = "changed"
        discard(session, order)
        assert order.name == ""
        order.tell(3)
    assert place.events() == [3]


def test_what_discards_named_attributes_keeps_the_events_since_other_changes_stay(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        session.refresh(order, ["name"])
        session.expire(order, ["lines"])
    assert place.events() == [1]


def test_what_was_flushed_is_not_discarded_by_expire(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        order.name = "changed"
        session.flush()
        session.expire(order)
        assert order.name == "changed"
    assert place.events() == [1]


def test_attributes_that_are_loaded_late_discard_nothing(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1)
        session.commit()  # everything is expired
        with session.no_autoflush:
            order.tell(1)
            assert order.name == ""
            session.scalars(sa.select(Order)).all()
        session.commit()
    assert place.events() == [1]


def test_what_is_recorded_after_its_transaction_was_committed_belongs_to_the_next_one(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1)
        event.listen(session, "after_commit", lambda _: order.tell(1), once=True)
        session.commit()
        assert place.events() == []
        session.commit()
    assert place.events() == [1]


def test_a_session_without_the_hook_discards_nothing(place: Place, engine: sa.Engine, app: Remit) -> None:
    publish_recorded(sessionmaker(engine))
    with Session(engine) as session:
        order = Order(id=1)
        session.add(order)
        session.commit()
        order.tell(1)
        session.expire(order)
        shop.sync.publish_recorded(order, tx=session)
        session.commit()
    assert place.events() == [1]


# --- what takes objects out of a session, and into another


def test_an_object_keeps_its_events_outside_a_session_and_publishes_them_in_the_next(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        first, second = session.scalars(sa.select(Order).order_by(Order.id))
        first.tell(1).name = second.tell(2).name = "changed"
        session.expunge(first)
    assert place.events() == []  # the second was detached by the end of the block
    with sessions.begin() as session:
        session.add_all([first, second])
    assert sorted(place.events()) == [1, 2]
    assert place.query("SELECT count(*) FROM orders WHERE name = 'changed'") == [(2,)]


def test_a_pending_object_keeps_its_events_when_its_session_ends(place: Place, sessions: sessionmaker[Session]) -> None:
    order = Order(id=3).tell(1)
    with sessions() as session:
        session.add(order)
        session.reset()
    with sessions.begin() as session:
        session.add(order)
    assert place.events() == [1]


def test_what_was_flushed_is_gone_when_its_session_is_closed_without_commit(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    """SQLAlchemy takes the object for saved: an add of it would write nothing, and so publishes nothing."""
    with sessions() as session:
        order = session.get_one(Order, 1).tell(1)
        order.name = "changed"
        session.flush()
    with sessions.begin() as session:
        session.add(order)
    assert (place.events(), place.query("SELECT name FROM orders WHERE id = 1")) == ([], [("",)])


def test_make_transient_keeps_the_events_for_the_new_row(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        make_transient(order)
        order.id = 3
        session.add(order)
    assert (place.events(), place.orders()) == ([1], [1, 2, 3])


def test_make_transient_to_detached_keeps_the_events(place: Place, sessions: sessionmaker[Session]) -> None:
    order = Order(id=1).tell(1)
    make_transient_to_detached(order)
    with sessions.begin() as session:
        session.add(order)
    assert place.events() == [1]


def test_a_pickled_object_takes_its_events_along(place: Place, sessions: sessionmaker[Session]) -> None:
    order = detached(sessions).tell(1)
    order.trail.record(Seen(number=2))
    with sessions.begin() as session:
        session.merge(pickle.loads(pickle.dumps(order)))
    assert sorted(place.events()) == [1, 2]
    assert held(order) == [1, 2], "it is another object: save one of the two"


def test_a_deep_copy_of_events_is_independent() -> None:
    order = Order(id=1).tell(1)
    assert [each.number for each in copy.deepcopy(vars(order)["_remit_recorded"])[type(shop)].take()] == [1]
    assert held(order) == [1]


# --- what is saved or deleted in other ways


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_objects_that_are_saved_in_bulk_publish_too(place: Place, sessions: sessionmaker[Session], ends: str) -> None:
    changed, new = detached(sessions).tell(1), Order(id=3).tell(2)
    changed.name = "changed"
    with sessions() as session:
        session.bulk_save_objects(each for each in (changed, new))
        getattr(session, ends)()
    if ends == "commit":
        assert (sorted(place.events()), held(changed), held(new)) == ([1, 2], [], [])
        assert place.orders() == [1, 2, 3]
    else:
        assert (place.events(), held(changed), held(new)) == ([], [1], [2])


def test_what_is_deleted_with_its_owner_publishes(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.add_all([Order(id=3, lines=[Line(id=1)]), Order(id=4, lines=[Line(id=2)])])
    with sessions.begin() as session:
        cascaded, orphaned = session.get_one(Order, 3), session.get_one(Order, 4)
        cascaded.lines[0].tell(1)
        session.delete(cascaded)
        orphan = orphaned.lines.pop().tell(2)
        session.flush()
        orphan.tell(3)
    assert sorted(place.events()) == [1, 2, 3]
    assert place.query("SELECT count(*) FROM lines") == [(0,)]


@pytest.mark.parametrize("nested", [False, True])
def test_a_deletion_that_is_rolled_back_takes_its_events_along(
    place: Place, sessions: sessionmaker[Session], nested: bool
) -> None:
    with sessions() as session:
        order = session.get_one(Order, 1)
        session.get_one(Order, 2).name = "kept"
        session.flush()
        with suppress(Oops), session.begin_nested() if nested else suppress(Oops):
            session.delete(order)
            session.flush()
            order.tell(1)
            raise Oops
        if not nested:
            session.rollback()
        order.tell(2)
        session.commit()
    assert (place.events(), place.orders()) == ([2], [1, 2])


def test_what_a_statement_deletes_has_published_what_it_recorded_before(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        session.execute(sa.delete(Order).where(Order.id == 1))
        order.tell(2)
    assert (place.events(), place.orders()) == ([1, 2], [2])


def test_a_new_object_that_recorded_nothing_of_its_own_is_left_alone(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        session.add(Order(id=3))
        session.merge(Order(id=4))
    assert (place.events(), place.orders()) == ([], [1, 2, 3, 4])


# --- who is heard


@pytest.mark.parametrize("kind", ["class", "subclass", "scoped"])
def test_every_kind_of_factory_follows_its_objects(place: Place, app: Remit, engine: sa.Engine, kind: str) -> None:
    class Ours(Session):
        def __init__(self, bind: Any = engine, **options: Any) -> None:
            super().__init__(bind, **options)

    make: Any = {
        "class": Ours,
        "subclass": sessionmaker(engine, class_=Ours),
        "scoped": scoped_session(sessionmaker(engine)),
    }[kind]
    publish_recorded(make)
    publish_recorded(make)  # once is enough, and twice does no harm
    if kind == "class":
        make = sessionmaker(engine, class_=type("Theirs", (Ours,), {}))
    with make() as session, session.begin():
        merged = session.merge(Order(id=1).tell(1))
        session.flush()
        merged.tell(2)
        session.expire(merged)
        merged.tell(3)
    assert place.events() == [1, 3]


async def test_async_sessions_follow_their_objects_too(
    async_place: tuple[Place, str], async_engine: AsyncEngine
) -> None:
    place, _ = async_place
    sessions = async_sessionmaker(async_engine, expire_on_commit=False)
    publish_recorded(sessions)
    app = place.application(require_tx=True)
    with app.bound():
        async with app:
            order = Order(id=1).tell(1)
            async with sessions.begin() as session:
                merged = await session.merge(order)
                await session.flush()
                merged.tell(2)
                await session.refresh(merged)
                merged.tell(3)
            assert place.events() == [1, 3]
            order.tell(4)
            async with sessions() as session:
                await session.merge(order)
                await session.flush()
            assert (place.events(), held(order)) == ([1, 3], [4])


def test_recorders_of_two_domains_publish_in_one_commit(place: Place, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        order = session.get_one(Order, 1).tell(1)
        order.trail.record(Seen(number=2))
        order.tell(3)
    assert sorted(place.events()) == [1, 2, 3]
    assert order.events.take() == []
