"""A caller that commits in two phases: PostgreSQL prepares no transaction that has notified anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from remit import Domain, Event, Job, Remit, Run
from remit.db.postgres import PostgresStore


class Mail(Domain): ...


mail = Mail()


class Send(Job[Mail]):
    to: str


class Sent(Event[Mail], ordered_by="to"):
    to: str


arrived: list[str] = []


@mail.handles(Send)
async def send(job: Send, run: Run[Mail]) -> None:
    arrived.append(f"job to {job.to}")


@mail.on(Sent, name="sent")
async def sent(event: Sent, run: Run[Mail]) -> None:
    arrived.append(f"event to {event.to}")


def send_all(handle: Any) -> None:
    mail.sync.enqueue(Send(to="one"), tx=handle)
    mail.sync.enqueue_many([Send(to="two"), Send(to="three")], tx=handle)
    mail.sync.publish(Sent(to="four"), tx=handle)


@contextmanager
def psycopg_blocking(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.tpc_begin("remit-1")
        send_all(connection)
        connection.tpc_prepare()
        yield
        connection.tpc_commit()


@contextmanager
def sqlalchemy_connection(url: str) -> Iterator[None]:
    engine = sa.create_engine(url.replace("://", "+psycopg://"))
    with engine.connect() as connection:
        transaction = connection.begin_twophase()
        send_all(connection)
        transaction.prepare()
        yield
        transaction.commit()
    engine.dispose()


@contextmanager
def sqlalchemy_session(url: str) -> Iterator[None]:
    engine = sa.create_engine(url.replace("://", "+psycopg://"))
    with Session(engine, twophase=True) as session:
        send_all(session)
        session.prepare()
        yield
        session.commit()
    engine.dispose()


@contextmanager
def sqlalchemy_session_on_a_connection(url: str) -> Iterator[None]:
    engine = sa.create_engine(url.replace("://", "+psycopg://"))
    with engine.connect() as connection:
        transaction = connection.begin_twophase()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            send_all(session)
            session.commit()
        transaction.prepare()
        yield
        transaction.commit()
    engine.dispose()


async def until_a_worker_sleeps(url: str, gate: int) -> None:
    """It holds the gate then, so that whoever sends notifies it."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        held = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND objid = %s"
        )
        while not await (await connection.execute(held, [gate % 2**32])).fetchone():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "caller", [psycopg_blocking, sqlalchemy_connection, sqlalchemy_session, sqlalchemy_session_on_a_connection]
)
async def test_what_is_sent_in_two_phases_is_found_when_it_is_committed(postgres_url: str, caller: Any) -> None:
    arrived.clear()
    app = Remit(postgres_url, domains=[mail])
    assert isinstance(app.store, PostgresStore)
    async with app, app.worker():
        await until_a_worker_sleeps(postgres_url, app.store.context.gate)
        with caller(postgres_url):
            assert not arrived, "it is prepared only"
        async with asyncio.timeout(20):
            while len(arrived) < 4:
                await asyncio.sleep(0.01)
    assert sorted(arrived) == ["event to four", "job to one", "job to three", "job to two"]
