"""The rights that the page on operations lists are enough, each for its role, and no more is needed to migrate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from remit import Domain, Event, Job, Remit, Run
from remit.errors import StoreError
from tests.docs.pages import DOCS, blocks
from tests.servers import PostgresServer


class Mail(Domain): ...


mail = Mail()


class Send(Job[Mail]):
    to: str


class Sent(Event[Mail], ordered_by="to"):
    to: str


noticed: list[str] = []


@mail.handles(Send)
async def send(job: Send, run: Run[Mail]) -> None:
    if job.to == "nobody":
        raise ValueError(job.to)
    run.publish(Sent(to=job.to))
    async with run.transaction() as tx:
        await tx.execute("SELECT 1")


@mail.on(Sent, name="notice")
async def notice(event: Sent, run: Run[Mail]) -> None:
    run.log.info("noticed")
    noticed.append(event.to)


ROLES = ("shop_owner", "shop_web", "shop_worker")


@pytest.fixture
def urls(postgres_server: PostgresServer, bare_postgres_url: str) -> Iterator[dict[str, str]]:
    """The URL of each role, on a database where none of them may create a schema; and the superuser's."""
    with psycopg.connect(bare_postgres_url, autocommit=True) as connection:
        for role in ROLES:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        yield {role: bare_postgres_url.replace("postgres@", f"{role}@") for role in ROLES} | {"": bare_postgres_url}
        for role in reversed(ROLES):
            for drop in ("DROP OWNED BY {} CASCADE", "DROP ROLE {}"):
                connection.execute(sql.SQL(drop).format(sql.Identifier(role)))


def run_block(title: str, url: str) -> None:
    [text] = [block.text for block in blocks(DOCS / "operations.md") if block.title == title]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())


def test_the_listed_rights_are_enough(urls: dict[str, str]) -> None:
    owner, web, worker = (Remit(urls[role], domains=[mail]) for role in ROLES)
    with pytest.raises(StoreError, match=r"permission denied for database .*: give this role the rights that the page"):
        owner.sync.migrate()
    run_block("schema.sql", urls[""])
    assert owner.sync.migrate()
    assert not owner.sync.migrate()
    run_block("rights.sql", urls["shop_owner"])

    with web.bound():
        sent = mail.sync.enqueue(Send(to="a"))
        assert mail.sync.enqueue(Send(to="a"), id=sent.id).duplicate
        dead = mail.sync.enqueue(Send(to="nobody"), attempts=1)
        mail.sync.enqueue_many([Send(to="b"), Send(to="c")])
        published = mail.sync.publish(Sent(to="d"))
        assert mail.sync.publish(Sent(to="d"), id=published.id).duplicate
        mail.sync.publish_soon(Sent(to="e"))
        mail.sync.flush()
        with psycopg.connect(urls["shop_web"]) as connection:
            mail.sync.enqueue(Send(to="f"), tx=connection)
            mail.sync.publish(Sent(to="g"), tx=connection)
        with pytest.raises(StoreError, match="permission denied for table job: give this role the rights"):
            web.sync.jobs.get(sent.id)
        web.sync.__exit__()

    with worker.bound():
        asyncio.run(asyncio.wait_for(worker.drain(), 30))
        assert sorted(noticed) == list("abcdefg")
        assert worker.sync.jobs.get(sent.id).state == "completed"
        worker.sync.jobs.retry(dead.id)
        worker.sync.jobs.delete(dead.id)
        worker.sync.queues.pause("mail.default")
        worker.sync.queues.resume("mail.default")
        assert worker.sync.events.replay(to="mail.notice") == 0
        assert worker.sync.workers.list() == []
        worker.sync.__exit__()
