"""`require_tx=True`: what is sent outside a transaction is refused, on both faces and by every verb."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from remit import Domain, Event, Job, Remit, Run
from remit.errors import InvalidArgument, OwnershipError, TransactionRequired
from tests.client.railway import connect


class Strict(Domain):
    """Sends in transactions only."""


strict = Strict()


class Work(Job[Strict]):
    then: str = ""


class Happened(Event[Strict]):
    what: str


class Thing:
    events = strict.recorder()


WORDS = (
    "this application was created with require_tx=True, and nothing was sent: pass tx=, the session or connection of "
    "the transaction that this belongs to"
)


@pytest.fixture
def app(store_url: str) -> Iterator[Remit]:
    app = Remit(store_url, domains=[strict], require_tx=True)
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


def count(url: str) -> tuple[int, int]:
    """How many jobs and events there are."""
    dot = "_" if url.startswith("sqlite") else "."
    with closing(connect(url)) as connection:
        [jobs, events] = (
            connection.execute(f"SELECT count(*) FROM remit{dot}{table}").fetchone()[0] for table in ("job", "event")
        )
    return jobs, events


def thing() -> Thing:
    one = Thing()
    one.events.record(Happened(what="recorded"))
    return one


VERBS: dict[str, Callable[[Any, Any], Any]] = {
    "enqueue": lambda face, tx: face.enqueue(Work(), tx=tx),
    "enqueue_many": lambda face, tx: face.enqueue_many([Work(), Work()], tx=tx),
    "enqueue_named": lambda face, tx: face.enqueue_named("work", {}, tx=tx),
    "publish": lambda face, tx: face.publish(Happened(what="x"), tx=tx),
    "publish_many": lambda face, tx: face.publish_many([Happened(what="x")], tx=tx),
    "publish_recorded": lambda face, tx: face.publish_recorded(thing(), tx=tx),
    "publish_later": lambda face, tx: face.publish_later(Happened(what="x"), delay=60, tx=tx),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_every_verb_needs_a_transaction(app: Remit, store_url: str, verb: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(TransactionRequired) as refusal:
        verb(strict.sync, None)
    assert str(refusal.value) == WORDS
    answer: Awaitable[Any] = verb(strict, None)
    with pytest.raises(TransactionRequired) as refusal:
        await answer
    assert str(refusal.value) == WORDS
    assert count(store_url) == (0, 0)

    connection: Any
    if store_url.startswith("sqlite"):
        connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(store_url)
    verb(strict.sync, connection)
    await verb(strict, connection)
    connection.commit()
    connection.close()
    assert sum(count(store_url)) in {2, 4}


def test_the_refusal_comes_before_any_database_is_opened(tmp_path: Any) -> None:
    app = Remit(f"sqlite:///{tmp_path / 'never.db'}", domains=[strict], require_tx=True)
    with app.bound(), pytest.raises(TransactionRequired):
        strict.sync.publish(Happened(what="x"))
    assert not (tmp_path / "never.db").exists()


def test_what_is_recorded_stays_recorded(app: Remit) -> None:
    one = thing()
    with pytest.raises(TransactionRequired):
        strict.sync.publish_recorded(one)
    assert len(one.events) == 1


async def test_the_direct_rail_is_exempt(app: Remit, store_url: str) -> None:
    strict.sync.publish_soon(Happened(what="x"))
    await strict.publish_soon(Happened(what="x"))
    await strict.flush()
    assert count(store_url) == (0, 2)


def test_other_mistakes_are_still_told_first(app: Remit) -> None:
    with pytest.raises(InvalidArgument):
        strict.sync.enqueue(Work(), attempts=0)
    with pytest.raises(OwnershipError):
        strict.sync.publish(NotOurs())  # type: ignore[arg-type]


class Lax(Domain):
    """Another."""


lax = Lax()


class NotOurs(Event[Lax]):
    """Not for strict."""


async def test_in_a_handler_the_run_sends_and_the_domain_needs_a_transaction(app: Remit, store_url: str) -> None:
    refusals: list[str] = []

    @strict.handles(Work)
    async def work(job: Work, run: Run[Strict]) -> None:
        if not job.then:
            return
        with pytest.raises(TransactionRequired) as refusal:
            await strict.enqueue(Work())
        refusals.append(str(refusal.value))
        run.enqueue(Work())
        run.publish(Happened(what="run"))
        async with run.transaction() as tx:
            await strict.publish(Happened(what="in the transaction of the run"), tx=tx)

    app.catalog.import_handlers()
    try:
        with closing(connect(store_url)) as connection:
            connection.execute("BEGIN")
            strict.sync.enqueue(Work(then="more"), tx=connection)
            connection.execute("COMMIT")
        async with app:
            await app.drain()
    finally:
        del Strict.__remit__.handlers[Work.__remit__]
    assert refusals == [
        f"{WORDS}; in a handler, run.enqueue(…) and run.publish(…) send in the commit that completes the run"
    ]
    assert count(store_url) == (2, 2)
    jobs = app.sync.jobs.list().jobs
    assert {job.state for job in jobs} == {"completed"}


async def test_an_event_that_was_announced_for_later_is_published_by_the_worker(app: Remit, store_url: str) -> None:
    strict.handles(Work)(ignore)
    try:
        with closing(connect(store_url)) as connection:
            connection.execute("BEGIN")
            strict.sync.publish_later(Happened(what="later"), delay=0, tx=connection)
            connection.execute("COMMIT")
        async with app:
            await app.drain()
    finally:
        del Strict.__remit__.handlers[Work.__remit__]
    assert count(store_url) == (1, 1)


async def ignore(job: object, run: object) -> None: ...


def test_with_ambient_transactions_the_refusal_says_that_none_is_open(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'never.db'}"
    app = Remit(url, domains=[strict], require_tx=True, ambient=[lambda: None])
    with app.bound(), pytest.raises(TransactionRequired, match="no open transaction was found here, so begin one"):
        strict.sync.publish(Happened(what="x"))
