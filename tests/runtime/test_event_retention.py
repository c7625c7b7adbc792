"""How long an event is kept is what its publisher says, whichever application on the store delivers and purges it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import psycopg
import pytest

from remit import DeadLetter, Domain, Event, Job, JobDied, Outbox, Remit, Run
from remit.catalog.quantities import DAY
from tests.runtime.working import ended, until

LONG = 90 * DAY


class Records(Domain, handlers=__name__):
    """Keeps its events for long."""


class Ticker(Domain, handlers=__name__):
    """Does not."""


records, ticker = Records(), Ticker()


class Filed(Event[Records]):
    number: int = 0


class Shredded(Event[Records], keep=60):
    pass


class Ticked(Event[Ticker]):
    pass


class File(Job[Records]):
    pass


class FileAlone(Job[Records]):
    pass


class Drop(Job[Records]):
    pass


class Folder:
    """An aggregate."""

    events = records.recorder()


@records.handles(File)
async def file(job: File, run: Run[Records]) -> None:
    run.publish(Filed())
    run.publish(Shredded())
    await records.publish(Filed())


@records.handles(FileAlone, mode="process")
def file_alone(job: FileAlone, run: Run[Records]) -> None:
    run.publish(Filed())
    run.publish(Shredded())


@records.handles(Drop)
async def drop(job: Drop, run: Run[Records]) -> None:
    raise DeadLetter("on the floor")


@records.on(Filed, name="index")
async def index(event: Filed, run: Run[Records]) -> None:
    pass


def kept(url: str) -> list[tuple[str, float | None]]:
    """What the log holds, and the seconds in its rows."""
    with contextlib.closing(connect(url)) as connection:
        table = "remit_event" if url.startswith("sqlite") else "remit.event"
        return sorted(connection.execute(f"SELECT name, keep FROM {table} ORDER BY seq").fetchall())


def connect(url: str) -> Any:
    return sqlite3.connect(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else psycopg.connect(url)


@pytest.mark.parametrize("leader", ["careful", "hasty"])
async def test_applications_on_one_store_do_not_shorten_each_others_log(store_url: str, leader: str) -> None:
    careful = Remit(store_url, domains=[records], outbox=Outbox(keep=LONG), prune_every=0.05)
    hasty = Remit(store_url, domains=[ticker], outbox=Outbox(keep=0), prune_every=0.05)
    await careful.migrate()
    await hasty.migrate()
    async with careful, hasty:
        await records.publish(Filed())
        await records.publish_many([Filed(), Filed()])
        folder = Folder()
        folder.events.record(Filed())
        await records.publish_recorded(folder)
        await records.publish_soon(Filed())
        await records.flush()
        records.sync.publish(Filed())
        await records.publish(Shredded())
        await ticker.publish(Ticked())
        expected = [*[("records.filed", LONG)] * 6, ("records.shredded", 60.0), ("ticker.ticked", 0.0)]
        assert kept(store_url) == expected
        async with (careful if leader == "careful" else hasty).worker():
            await until(lambda: kept(store_url) == expected[:7], "what is to be kept is left")
            await careful.drain()  # what a hasty worker has left to `index`
    assert kept(store_url) == expected[:7]


@pytest.mark.parametrize("job", [File(), FileAlone()], ids=repr)
async def test_what_a_run_publishes_is_kept_as_its_application_and_its_class_say(store_url: str, job: Any) -> None:
    app = Remit(store_url, domains=[records], outbox=Outbox(keep=LONG))
    await app.migrate()
    async with app, app.worker():
        await ended(app, await records.enqueue(job))
    filed = [("records.filed", LONG)] * (2 if isinstance(job, File) else 1)
    assert kept(store_url) == [*filed, ("records.shredded", 60.0)]


async def test_what_is_published_later_is_kept_as_is_said_when_it_fires(store_url: str) -> None:
    app = Remit(store_url, domains=[records], outbox=Outbox(keep=60))
    await app.migrate()
    async with app:
        later = [await records.publish_later(Filed()), await records.publish_later(Shredded())]
    changed = app.twin(store_url, outbox=Outbox(keep=LONG))
    async with changed, changed.worker():
        for ref in later:
            await ended(changed, ref)
    assert kept(store_url) == [("records.filed", LONG), ("records.shredded", 60.0)]


async def test_what_the_store_publishes_itself_follows_whoever_delivers_it(store_url: str) -> None:
    app = Remit(store_url, domains=[records], outbox=Outbox(keep=0), prune_every=0.05)
    await app.migrate()
    async with app:
        ref = await records.enqueue(Drop())
        async with app.worker():
            assert (await ended(app, ref)).state == "dead"
            await until(lambda: kept(store_url) == [], f"{JobDied.__remit__.name} is purged")
