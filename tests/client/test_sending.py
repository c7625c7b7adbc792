"""Sending through a domain, on real stores: what becomes of it, and what is refused."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from remit import Domain, Job, JobRef, Keep, Remit, State, schema
from remit.db.opening import open_store
from remit.errors import AlreadyBound, ForeignTransaction, InvalidArgument, JobNotFound
from tests.servers import PostgresServer


class Sending(Domain):
    """The sender of these tests."""


sending = Sending()
hot = sending.queue("hot", lifo=True)


class Ship(Job[Sending]):
    order: str


class Newest(Job[Sending], queue=hot):
    order: str


class Brief(Job[Sending], keep=Keep(age=30)):
    order: str


class Kept(Job[Sending], keep=Keep(age=math.inf)):
    order: str


async def ignore(job: object, run: object) -> None: ...


@pytest.fixture
def app(store_url: str) -> Iterator[Remit]:
    app = Remit(store_url, domains=[sending])
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


def caller(url: str) -> sqlite3.Connection | psycopg.Connection[tuple[object, ...]]:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    return psycopg.connect(url)


def states(app: Remit, refs: list[JobRef]) -> list[State]:
    return [app.sync.jobs.get(ref.id).state for ref in refs]


def test_a_second_enqueue_under_the_same_id_is_a_duplicate_and_is_told(app: Remit) -> None:
    id = uuid4()
    first = sending.sync.enqueue(Ship(order="7"), id=id)
    second = sending.sync.enqueue(Ship(order="7"), id=str(id).upper(), delay=60)
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.id == second.id == str(id)
    assert app.sync.jobs.get(first.id).state is State.READY, "the first one stays as it is"


async def test_the_async_face_tells_duplicates_too(app: Remit) -> None:
    id = uuid4()
    async with app:
        assert not (await sending.enqueue(Ship(order="7"), id=id)).duplicate
        assert (await sending.enqueue(Ship(order="7"), id=id)).duplicate


def test_a_duplicate_does_not_abort_the_callers_transaction(app: Remit, store_url: str) -> None:
    id = uuid4()
    sending.sync.enqueue(Ship(order="7"), id=id)
    with caller(store_url) as connection:
        assert sending.sync.enqueue(Ship(order="7"), id=id, tx=connection).duplicate
        other = sending.sync.enqueue(Ship(order="8"), tx=connection)
        connection.commit()
    connection.close()
    assert app.sync.jobs.get(other.id).state is State.READY


def test_several_jobs_cannot_share_one_id(app: Remit) -> None:
    with pytest.raises(InvalidArgument, match="id belongs to one job"):
        sending.sync.enqueue_many([Ship(order="7"), Ship(order="8")], id=uuid4())


def test_every_option_arrives_in_the_store(app: Remit) -> None:
    due = datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=2)
    ref = sending.sync.enqueue(
        Ship(order="7"),
        at=due,
        priority=-3,
        attempts=7,
        expires=due + timedelta(hours=1),
        timeout=timedelta(minutes=2),
        keep=60,
        label="first order",
        requested_by={"name": "warehouse", "role": "system"},
        attachment="https://example.com/7.pdf",
    )
    job = app.sync.jobs.get(ref.id)
    assert (job.state, job.run_at, job.priority, job.attempts) == (State.SCHEDULED, due, -3, 7)
    assert job.expires_at == due + timedelta(hours=1)
    assert job.timeout == 120.0
    assert (job.label, job.attachment) == ("first order", "https://example.com/7.pdf")
    assert job.requested_by == {"name": "warehouse", "role": "system"}
    assert (job.owner, job.queue, job.name, job.version) == ("sending", "sending.default", "sending.ship", 1)
    assert job.payload == {"order": "7"}


def test_a_timeout_of_one_call_is_kept_whatever_the_way(app: Remit) -> None:
    refs = [
        *sending.sync.enqueue_many([Ship(order="7"), Ship(order="8")], timeout=5),
        sending.sync.enqueue_named("ship", {"order": "9"}, timeout=0.5),
        sending.sync.enqueue(Ship(order="10"), timeout=math.inf),
        sending.sync.enqueue(Ship(order="11")),
    ]
    assert [app.sync.jobs.get(ref.id).timeout for ref in refs] == [5.0, 5.0, 0.5, math.inf, None]


def test_a_job_in_the_past_is_ready_and_a_delayed_one_is_not(app: Remit) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    refs = [sending.sync.enqueue(Ship(order="7"), at=past), sending.sync.enqueue(Ship(order="8"), delay=60)]
    assert states(app, refs) == [State.READY, State.SCHEDULED]


def test_many_jobs_are_written_all_or_none_beyond_one_statement(app: Remit) -> None:
    refs = sending.sync.enqueue_many([Ship(order=str(number)) for number in range(2500)])
    assert len({ref.id for ref in refs}) == 2500
    [record] = [one for one in app.sync.queues.list() if one.name == "sending.default"]
    assert record.ready == 2500
    assert app.sync.jobs.get(refs[1234].id).payload == {"order": "1234"}


def test_a_transaction_of_another_database_is_refused_and_stays_usable(
    sqlite_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = f"sqlite:///{tmp_path_factory.mktemp('other') / 'other.db'}"
    Remit(elsewhere, domains=[]).sync.migrate()
    connection = sqlite3.connect(elsewhere.removeprefix("sqlite:///"))
    connection.execute("CREATE TABLE mine (n INTEGER)")
    app = Remit(sqlite_url, domains=[sending])
    with app.bound(), app.sync, pytest.raises(ForeignTransaction, match="another database"):
        sending.sync.enqueue(Ship(order="7"), tx=connection)
    connection.execute("INSERT INTO mine VALUES (1)")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM remit_job").fetchone() == (0,)
    connection.close()


def test_a_lifo_queue_gives_the_newest_first(app: Remit) -> None:
    ran: list[str] = []

    @sending.handles(Newest)
    async def newest(job: Newest, run: object) -> None:
        ran.append(job.order)

    for other in (Ship, Brief, Kept):
        sending.handles(other)(ignore)

    try:
        for number in range(5):
            sending.sync.enqueue(Newest(order=str(number)))
        sending.sync.enqueue(Newest(order="urgent"), priority=-1)
        app.sync.drain()
    finally:
        Sending.__remit__.handlers.clear()
    assert ran == ["urgent", "4", "3", "2", "1", "0"]


def test_a_domain_belongs_to_one_open_application(app: Remit, tmp_path_factory: pytest.TempPathFactory) -> None:
    sending.sync.enqueue(Ship(order="7"))
    other = Remit(f"sqlite:///{tmp_path_factory.mktemp('b') / 'b.db'}", domains=[sending], name="the second")
    with pytest.raises(AlreadyBound, match=r"sending belongs to Remit\(.*\) and cannot be taken in by the second"):
        other.sync.__enter__()
    with other.bound(), other.sync:
        there = sending.sync.enqueue(Ship(order="8"))
        assert other.sync.jobs.get(there.id).state is State.READY
    here = sending.sync.enqueue(Ship(order="9"))
    assert app.sync.jobs.get(here.id).state is State.READY
    with pytest.raises(JobNotFound, match="there is no job"):
        app.sync.jobs.get(there.id)


def test_a_state_that_does_not_exist_is_told_with_those_that_do(app: Remit) -> None:
    with pytest.raises(InvalidArgument) as refused:
        app.sync.jobs.list(state="redy")
    assert str(refused.value) == (
        "state 'redy' is no state of a job. Did you mean 'ready'? The states are scheduled, ready, running, completed, "
        "skipped, cancelled, dead."
    )
    with pytest.raises(InvalidArgument) as refused:
        app.sync.events.list(state="nope")
    assert (
        str(refused.value) == "state 'nope' is no state of an event. The states are pending, unknown, dispatched, dead."
    )


def test_a_job_class_says_how_long_its_jobs_are_kept_and_a_call_overrules_it(app: Remit, store_url: str) -> None:
    refs = [
        sending.sync.enqueue(Brief(order="7")),
        sending.sync.enqueue(Brief(order="7"), keep=5),
        sending.sync.enqueue(Ship(order="7")),
        sending.sync.enqueue(Kept(order="7")),
    ]
    table = "remit_job" if store_url.startswith("sqlite") else "remit.job"
    with caller(store_url) as connection:
        rows = dict(connection.execute(f"SELECT CAST(id AS text), keep FROM {table}").fetchall())
    connection.close()
    assert [rows[ref.id] for ref in refs[:3]] == [30.0, 5.0, None]
    assert rows[refs[3].id] > 50 * 365 * 86_400


def made_anew(url: str, server: PostgresServer) -> None:
    """Drop the database under whoever uses it, and make it again under the same name, with tables of its own."""
    if url.startswith("sqlite"):
        for file in Path(url.removeprefix("sqlite:///")).parent.glob("remit.db*"):
            if file.is_file():
                file.unlink()
    else:
        name = url.rpartition("/")[2]
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
    schema.migrate(open_store(url))


async def test_a_database_that_was_made_anew_is_sent_to_as_the_old_one_was(
    store_url: str, postgres_server: PostgresServer
) -> None:
    app = Remit(store_url, domains=[sending])
    app.sync.migrate()
    async with app:
        sending.sync.enqueue(Ship(order="before"))
        await sending.enqueue(Ship(order="before"))
        for round in range(3):
            made_anew(store_url, postgres_server)
            if round == 0:
                sent = [await sending.enqueue(Ship(order="async"))]
            elif round == 1:
                sent = [sending.sync.enqueue(Ship(order="blocking"))]
            else:
                with closing(caller(store_url)) as connection:
                    sent = sending.sync.enqueue_many([Ship(order="caller"), Ship(order="caller")], tx=connection)
                    connection.commit()
            assert [job.id for job in (await app.jobs.list()).jobs] == sorted((ref.id for ref in sent), reverse=True)
            sending.sync.enqueue(Ship(order="before"))
