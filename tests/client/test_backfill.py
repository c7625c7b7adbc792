"""`app.events.replay`: what becomes of a back-fill that cannot go on, and of an event that cannot be delivered."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from remit import Domain, Event, Remit, Run
from remit.errors import DamagedEvents, StoreError
from remit.runtime.duties import filler
from tests.runtime.working import until
from tests.servers import PostgresServer


class Billing(Domain, handlers=__name__): ...


class Ledger(Domain, handlers=__name__): ...


billing, ledger = Billing(), Ledger()


class Paid(Event[Billing], ordered_by="invoice"):
    invoice: int
    n: int = 0
    currency: str = "EUR"


seen: list[int] = []


@ledger.on(Paid, name="book", ordered_by="invoice", inline="a test")
async def book(event: Paid, run: Run[Ledger]) -> None:
    seen.append(event.n)


@ledger.on(Paid, name="euro", where={"currency": ["EUR", "USD"]}, inline="a test")
async def euro(event: Paid, run: Run[Ledger]) -> None: ...


@pytest.fixture
def app(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remit]:
    monkeypatch.setattr(filler, "LOOK", 0.05)
    monkeypatch.setattr(filler, "STALLED", 0.3)
    seen.clear()
    app = Remit(store_url, domains=[billing, ledger])
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


def execute(url: str, sql: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(sql.replace("remit.", "remit_"))
    else:
        with psycopg.connect(url) as connection:
            connection.execute(sql.encode())


def publish_unheard(app: Remit, url: str, count: int) -> list[str]:
    """Events that were dispatched before anybody listened."""
    refs = billing.sync.publish_many([Paid(invoice=1, n=n) for n in range(count)])
    app.sync.drain()
    for table in ("turn", "job", "delivery"):
        execute(url, f"DELETE FROM remit.{table}")
    seen.clear()
    return [ref.id for ref in refs]


def filling(app: Remit, name: str = "ledger.book") -> bool:
    return app.sync.subscriptions.get(name).filling_since is not None


def test_a_damaged_event_is_named_and_the_others_are_delivered(app: Remit, store_url: str) -> None:
    ids = publish_unheard(app, store_url, 11)
    broken = ids[4], ids[9]
    for id in broken:
        execute(store_url, f"UPDATE remit.event SET payload = '{{\"n\": ' WHERE id = '{id}'")
    with pytest.raises(DamagedEvents) as refused:
        app.sync.events.replay(to="ledger.euro")
    text = str(refused.value)
    assert text.startswith("9 deliveries were made for ledger.euro, and 2 of 11 events could not be delivered: ")
    assert [id in text for id in ids] == [id in broken for id in ids]
    assert text.endswith("Mend what is stored of them and replay again, or leave them")
    assert not filling(app, "ledger.euro")
    delivered = {
        id for id in ids if any(each.subscription == "ledger.euro" for each in app.sync.events.get(id).records)
    }
    assert delivered == {*ids} - {*broken}


def test_what_a_person_interrupts_is_let_go(app: Remit, store_url: str) -> None:
    publish_unheard(app, store_url, 3)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        app.sync.events.replay(to="ledger.book", rate=1, progress=interrupt)
    assert not filling(app)


REPLAY = """
import sys
from remit import Remit
from tests.client.test_backfill import billing, ledger
app = Remit(sys.argv[1], domains=[billing, ledger])
with app.sync:
    app.sync.events.replay(to="ledger.book", rate=2, progress=lambda *_: print("going on", flush=True))
"""


async def test_a_worker_goes_on_with_the_back_fill_of_a_process_that_was_killed(app: Remit, store_url: str) -> None:
    """An ordered subscription holds what is live, and then gets everything in order."""
    await asyncio.to_thread(publish_unheard, app, store_url, 40)
    process = subprocess.Popen([sys.executable, "-c", REPLAY, store_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "going on\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    execute(store_url, """UPDATE remit.subscription SET filling = replace(filling, '"rate":2.0', '"rate":null')""")
    billing.sync.publish(Paid(invoice=1, n=40))
    assert filling(app)
    async with app.worker():
        await until(lambda: len(seen) == 41, "everything is delivered")
    assert seen == list(range(41))
    assert not filling(app)


async def test_a_worker_goes_on_with_a_back_fill_that_lost_its_database(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filler, "LOOK", 0.05)
    monkeypatch.setattr(filler, "STALLED", 0.3)
    seen.clear()
    app = Remit(postgres_url, domains=[billing, ledger])
    await app.migrate()
    with app.bound():
        async with app:
            await asyncio.to_thread(publish_unheard, app, postgres_url, 6)
            execute(postgres_url, "ALTER TABLE remit.event RENAME TO event_away")
            with pytest.raises(StoreError, match="has stopped, and a worker goes on with it"):
                await app.events.replay(to="ledger.book")
            execute(postgres_url, "ALTER TABLE remit.event_away RENAME TO event")
            assert (await app.subscriptions.get("ledger.book")).filling_since is not None
            async with app.worker():
                await until(lambda: len(seen) == 6, "everything is delivered")
    assert seen == list(range(6))


async def test_a_back_fill_that_goes_on_slowly_is_left_alone(
    app: Remit, store_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("remit.client.events.BEAT", 0.05)
    await asyncio.to_thread(publish_unheard, app, store_url, 3)
    async with app.worker():
        assert await app.events.replay(to="ledger.book", rate=1.9) == 3
        await until(lambda: len(seen) == 3, "everything is delivered")
    assert "back-fill" not in caplog.text
