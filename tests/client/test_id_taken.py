"""One id for two kinds of messages: the second is refused, and never taken for a duplicate of the first."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from remit import Domain, Event, Job, Remit, Retry, Run, State
from remit.errors import IdTaken


class Till(Domain, handlers=__name__):
    """The domain of these tests."""


till = Till()


class Book(Job[Till]):
    sale: int


class Post(Job[Till]):
    sale: int


class Sold(Event[Till], audit_only=True):
    sale: int


class Returned(Event[Till], audit_only=True):
    sale: int


class Close(Job[Till], retry=Retry(attempts=1)):
    """Sends whatever the test says, as the test says."""

    how: str


SALE = uuid4()
sends: list[Any] = []
store: dict[str, str] = {}


@till.handles(Book)
async def book(job: Book, run: Run[Till]) -> None: ...


@till.handles(Post)
async def post(job: Post, run: Run[Till]) -> None: ...


@till.handles(Close)
async def close(job: Close, run: Run[Till]) -> None:
    for each in sends:
        if isinstance(each, Job):
            run.enqueue(each, id=SALE)
        else:
            run.publish(each, id=SALE)
    match job.how:
        case "transaction":
            async with run.transaction():
                pass
        case "complete":
            await run.complete()
        case "tx":
            with contextlib.closing(connect()) as connection:
                connection.execute("INSERT INTO effect VALUES (1)")
                with contextlib.suppress(IdTaken):
                    await run.complete(tx=connection)
                with contextlib.suppress(psycopg.Error):
                    connection.commit()  # nothing can be committed: the job would be completed without its message
                raise RuntimeError("the completion was refused")
        case _:
            pass


def connect() -> Any:
    url = store["url"]
    return sqlite3.connect(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else psycopg.connect(url)


@pytest.fixture
def app(store_url: str) -> Iterator[Remit]:
    store["url"] = store_url
    sends.clear()
    app = Remit(store_url, domains=[till])
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


TEXT = (
    r"^{id} is the id of till\.{stored} already, and till\.{refused} was not written: derive the id from the name of "
    r"the message too, so that two messages about one thing have two ids$"
)


@contextlib.contextmanager
def taken(id: UUID, stored: str, refused: str) -> Iterator[None]:
    with pytest.raises(IdTaken, match=TEXT.format(id=id, stored=stored, refused=refused)) as error:
        yield
    assert (error.value.id, error.value.stored, error.value.refused) == (
        str(id), *(f"till.{name}".replace("\\", "") for name in (stored, refused)),
    )  # fmt: skip


async def test_an_id_of_another_kind_is_refused_and_names_both(app: Remit) -> None:
    id = uuid4()
    assert not till.sync.enqueue(Book(sale=1), id=id).duplicate
    assert not till.sync.publish(Sold(sale=1), id=id).duplicate  # jobs and events have ids of their own
    for _ in range(2):
        with taken(id, "book", "post"):
            till.sync.enqueue(Post(sale=1), id=id)
        with taken(id, "sold", "returned"):
            till.sync.publish(Returned(sale=1), id=id)
    async with app:
        with taken(id, "book", "post"):
            await till.enqueue(Post(sale=1), id=id)
        with taken(id, "sold", "returned"):
            await till.publish(Returned(sale=1), id=id)
        assert (await till.enqueue(Book(sale=2), id=id)).duplicate
        assert (await till.publish(Sold(sale=2), id=id)).duplicate
    assert app.sync.jobs.get(id).payload == {"sale": 1}
    assert app.sync.events.get(id).payload == {"sale": 1}


def test_a_transaction_goes_on_after_a_refusal(app: Remit) -> None:
    id = uuid4()
    till.sync.enqueue(Book(sale=1), id=id)
    till.sync.publish(Sold(sale=1), id=id)
    with contextlib.closing(connect()) as connection:
        with taken(id, "book", "post"):
            till.sync.enqueue(Post(sale=1), id=id, tx=connection)
        with taken(id, "sold", "returned"):
            till.sync.publish(Returned(sale=1), id=id, tx=connection)
        other = till.sync.enqueue(Post(sale=1), tx=connection)
        connection.commit()
    assert app.sync.jobs.get(other.id).name == "till.post"


def test_a_message_that_was_renamed_is_the_same(app: Remit, store_url: str) -> None:
    class Shelf(Domain, name="till", package=__name__, handlers=__name__): ...

    shelf = Shelf()

    class Keep(Job[Shelf], aliases=("till.book",)):
        sale: int

    class Gone(Event[Shelf], aliases=("till.sold",), audit_only=True):
        sale: int

    id = uuid4()
    till.sync.enqueue(Book(sale=1), id=id)
    till.sync.publish(Sold(sale=1), id=id)
    later = Remit(store_url, domains=[shelf])
    with later.bound(), later.sync:
        assert shelf.sync.enqueue(Keep(sale=1), id=id).duplicate
        assert shelf.sync.publish(Gone(sale=1), id=id).duplicate


def test_delayed_events_are_known_apart_though_their_jobs_have_one_name(app: Remit) -> None:
    id = uuid4()
    assert not till.sync.publish_later(Sold(sale=1), id=id, delay=60).duplicate
    assert till.sync.publish_later(Sold(sale=1), id=id, delay=60).duplicate
    with taken(id, r"publish-later \(till\.sold\)", r"publish-later \(till\.returned\)"):
        till.sync.publish_later(Returned(sale=1), id=id, delay=60)
    with taken(id, r"publish-later \(till\.sold\)", "book"):
        till.sync.enqueue(Book(sale=1), id=id)


def test_the_direct_rail_reports_what_it_refuses_and_writes_the_others(
    app: Remit, caplog: pytest.LogCaptureFixture
) -> None:
    id = uuid4()
    till.sync.publish(Sold(sale=1), id=id)
    for _ in range(2):  # alone, and among others
        till.sync.publish_soon(Returned(sale=1), id=id)
        with (
            caplog.at_level(logging.ERROR, "remit"),
            pytest.raises(IdTaken, match=r"till\.sold already, and till\.ret"),
        ):
            till.sync.flush()
        assert "event lost" in caplog.text
        till.sync.publish_soon(Sold(sale=2))
        till.sync.publish_soon(Sold(sale=1), id=id)
    till.sync.flush()
    assert sorted(each.payload["sale"] for each in app.sync.events.list(event="till.sold").events) == [1, 2, 2]
    assert app.sync.events.list(event="till.returned").events == ()


@pytest.mark.parametrize("how", ["return", "complete", "transaction", "tx"])
@pytest.mark.parametrize("stored, refused", [(Book, Post), (Sold, Returned)], ids=["enqueue", "publish"])
async def test_a_run_that_would_send_under_an_id_of_another_kind_completes_nothing(
    app: Remit, how: str, stored: Any, refused: Any
) -> None:
    with contextlib.closing(connect()) as connection:
        connection.execute("CREATE TABLE effect (number integer)")
        connection.commit()
    first, second = stored(sale=1), refused(sale=1)
    till.sync.enqueue(first, id=SALE) if isinstance(first, Job) else till.sync.publish(first, id=SALE)
    sends[:] = [second]
    async with app:
        ref = await till.enqueue(Close(how=how))
        bystander = await till.enqueue(Book(sale=9))
        await app.drain()
        done = await app.jobs.get(ref.id)
        assert done.state is State.DEAD
        assert (await app.jobs.get(bystander.id)).state is State.COMPLETED
    names = f"till.{stored.__name__.lower()} already, and till.{refused.__name__.lower()} was not written"
    if how == "tx":
        assert done.errors[-1].message == "the completion was refused"
    else:
        assert names in done.errors[-1].message
    with contextlib.closing(connect()) as connection:
        assert connection.execute("SELECT count(*) FROM effect").fetchone()[0] == 0


async def test_a_run_may_send_a_duplicate(app: Remit) -> None:
    till.sync.enqueue(Book(sale=1), id=SALE)
    till.sync.publish(Sold(sale=1), id=SALE)
    sends[:] = [Book(sale=2), Sold(sale=2)]
    async with app:
        refs = [await till.enqueue(Close(how=how)) for how in ("return", "complete", "transaction")]
        await app.drain()
        assert [(await app.jobs.get(ref.id)).state for ref in refs] == [State.COMPLETED] * 3
        assert (await app.jobs.get(SALE)).payload == {"sale": 1}
        assert [each.payload for each in (await app.events.list(event="till.sold")).events] == [{"sale": 1}]


async def test_two_kinds_under_one_id_in_one_run_are_refused(app: Remit) -> None:
    sends[:] = [Book(sale=1), Post(sale=1)]
    async with app:
        ref = await till.enqueue(Close(how="return"))
        await app.drain()
        done = await app.jobs.get(ref.id)
        assert done.state is State.DEAD
        assert f"{SALE} is the id of till.book already, and till.post was not written" in str(done.reason)
        assert [each.name for each in (await app.jobs.list()).jobs] == ["till.close"]
