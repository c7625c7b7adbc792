"""Two releases of one application on one store, in processes of their own, whichever of them comes up first.

The second release renames a job, an event and a subscription, moves work to other queues and an event to another
domain, and changes payloads by new versions. Nothing that either release sends may be lost, or be handled twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit import Remit
from tests.faults.harness import ROOT, until

pytestmark = pytest.mark.fault

HEAD = """
import os
from remit import Domain, Event, Job, Remit, Run

class Billing(Domain): ...
class Catalog(Domain): ...
class Stock(Domain): ...
billing, catalog, stock = Billing(), Catalog(), Stock()

def note(what):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(what + "\\n")

app = Remit(os.environ["STORE"], domains=[billing, catalog, stock])
"""

FIRST = """
slow = billing.queue("slow")

class Sync(Job[Billing], queue=slow):
    n: int

class Rename(Job[Billing]):
    n: int

class Paid(Event[Billing]):
    n: int
    currency: str

class Moved(Event[Billing], ordered_by="n"):
    n: int

@billing.handles(Sync)
async def sync(job: Sync, run: Run[Billing]) -> None:
    note(f"sync v1 {job.n}")

@billing.handles(Rename)
async def rename(job: Rename, run: Run[Billing]) -> None:
    note(f"rename {job.n}")

@catalog.on(Paid, name="hear", where={"currency": "EUR"}, inline="a test")
async def hear(event: Paid, run: Run[Catalog]) -> None:
    note(f"paid v1 {event.n}")

@catalog.on(Moved, name="watch", ordered_by="n", inline="a test")
async def watch(event: Moved, run: Run[Catalog]) -> None:
    note(f"moved {event.n}")

def send(n):
    billing.sync.enqueue_many([Sync(n=n), Rename(n=n)])
    billing.sync.publish_many([Paid(n=n, currency="EUR"), Paid(n=n, currency="USD"), Moved(n=n)])
    return [f"sync v1 {n}", f"rename {n}", f"paid v1 {n}", f"moved {n}"]
"""

SECOND = """
fast, other = billing.queue("fast"), catalog.queue("other")

class Sync(Job[Billing], version=2, queue=fast):
    number: int

class SyncV1(Job[Billing], name="billing.sync", version=1, queue=fast):
    n: int

class Renamed(Job[Billing], aliases=("billing.rename",)):
    n: int

class Settled(Event[Billing], version=2, aliases=("billing.paid",)):
    number: int
    money: str

class PaidV1(Event[Billing], name="billing.paid", version=1):
    n: int
    currency: str

class Moved(Event[Stock], aliases=("billing.moved",), ordered_by="n"):
    n: int

class Added(Event[Billing]):
    n: int

class Noted(Event[Billing], audit_only=True):
    n: int

@billing.handles(Sync)
async def sync(job: Sync, run: Run[Billing]) -> None:
    note(f"sync v2 {job.number}")

@billing.handles(SyncV1)
async def sync_v1(job: SyncV1, run: Run[Billing]) -> None:
    note(f"sync v1 {job.n}")

@billing.handles(Renamed)
async def rename(job: Renamed, run: Run[Billing]) -> None:
    note(f"rename {job.n}")

@catalog.on(PaidV1, name="listen", aliases=("hear",), queue=other, where={"currency": "EUR"}, inline="a test")
async def listen_v1(event: PaidV1, run: Run[Catalog]) -> None:
    note(f"paid v1 {event.n}")

@catalog.on(Settled, name="listen", aliases=("hear",), queue=other, where={"money": "EUR"}, inline="a test")
async def listen(event: Settled, run: Run[Catalog]) -> None:
    note(f"paid v2 {event.number}")

@catalog.on(Moved, name="watch", ordered_by="n", inline="a test")
async def watch(event: Moved, run: Run[Catalog]) -> None:
    note(f"moved {event.n}")

@catalog.on(Added, name="greet", inline="a test")
async def greet(event: Added, run: Run[Catalog]) -> None:
    note(f"added {event.n}")

def send(n):
    billing.sync.enqueue_many([Sync(number=n), Renamed(n=n)])
    billing.sync.enqueue_named("sync", {"n": n}, version=1)
    billing.sync.publish_many([Settled(number=n, money="EUR"), Settled(number=n, money="USD"), Added(n=n), Noted(n=n)])
    stock.sync.publish(Moved(n=n))
    return [f"sync v2 {n}", f"rename {n}", f"sync v1 {n}", f"paid v2 {n}", f"added {n}", f"moved {n}"]
"""

WORKER = """
import asyncio, logging, sys
logging.basicConfig(level=logging.WARNING)
from shop_app import app
async def main():
    async with app.worker(lease=2.0):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)  # ends with the test, however that ends
asyncio.run(main())
"""

WEB = """
import json, sys
from shop_app import app, send
with app.sync:
    print(json.dumps([line for n in sys.argv[1:] for line in send(int(n))]))
"""


class Release:
    """A folder that holds one release of the module `shop_app`."""

    def __init__(self, shop: Shop, name: str, source: str) -> None:
        self.folder = shop.folder / name
        self.folder.mkdir()
        (self.folder / "shop_app.py").write_text(HEAD + source)
        self._shop = shop
        self._workers: list[subprocess.Popen[str]] = []

    def _start(self, script: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)]),
            "STORE": self._shop.url,
            "LEDGER": str(self._shop.ledger),
        }
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self.folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **options,
        )

    def web(self, *numbers: int) -> None:
        """A web process, without handlers of its own, that sends each kind of message once for each number."""
        process = self._start(WEB, *map(str, numbers))
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        self._shop.wanted.update(json.loads(out))

    def worker(self) -> None:
        process = self._start(WORKER, stderr=(self.folder / "log").open("a"))
        self._workers.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (self.folder / "log").read_text()

    def stop(self) -> None:
        for process in self._workers:
            process.communicate(timeout=60)  # closes its input
        self._workers.clear()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


class Shop:
    """A store, its two releases, and what their handlers did."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.wanted: Counter[str] = Counter()
        self.app = Remit(url, domains=[])
        self.app.sync.migrate()
        self.old, self.new = Release(self, "first", FIRST), Release(self, "second", SECOND)

    def events(self, *states: str) -> list[str]:
        events = self.app.sync.events.list(limit=1000).events
        return [f"{each.name} v{each.version}" for each in events if each.state in states]

    def unfinished(self) -> list[str]:
        return [
            f"{each.name} v{each.version}"
            for each in self.app.sync.jobs.list(limit=1000).jobs
            if not each.state.is_final
        ]

    def done(self) -> Counter[str]:
        return Counter(self.ledger.read_text().splitlines())

    def await_all(self) -> None:
        """Wait until each message was handled; each of them once, and nothing is left."""
        until(lambda: self.done().keys() >= self.wanted.keys(), "everything is handled")
        until(lambda: not self.unfinished() and not self.events("pending", "unknown"), "nothing is left")
        assert self.done() == self.wanted


@pytest.fixture
def shop(store_url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(store_url, tmp_path)
    with shop.app.sync:
        try:
            yield shop
        finally:
            shop.old.stop()
            shop.new.stop()


def test_the_new_web_process_comes_first_and_no_old_worker_loses_what_it_sends(shop: Shop) -> None:
    shop.old.worker()
    shop.old.web(1)
    shop.new.web(2)
    until(lambda: not shop.events("pending"), "the old relay has seen everything")
    assert sorted(shop.events("unknown")) == [
        "billing.added v1", "billing.noted v1", "billing.settled v2", "billing.settled v2", "stock.moved v1",
    ]  # fmt: skip
    until(lambda: {"sync v1 1", "sync v1 2", "paid v1 1"} <= shop.done().keys(), "it runs what it knows")
    shop.old.stop()
    shop.old.web(3)
    shop.new.worker()
    shop.await_all()


def test_the_new_worker_comes_first_and_knows_what_the_old_release_sends(shop: Shop) -> None:
    shop.old.worker()
    shop.old.web(1)
    shop.new.worker()
    shop.old.web(2)
    shop.new.web(3)
    shop.await_all()
    shop.old.stop()
    shop.old.web(4)
    shop.new.web(5)
    shop.await_all()


def test_an_old_worker_that_starts_behind_a_new_one_takes_nothing_back(shop: Shop) -> None:
    shop.new.worker()
    shop.old.worker()
    shop.old.web(1)
    shop.new.web(2)
    shop.await_all()
    shop.new.stop()
    shop.old.web(3)
    shop.new.web(4)
    until(lambda: not shop.events("pending", "unknown"), "the old relay dispatches what the new release has declared")
    shop.old.stop()
    shop.new.worker()
    shop.await_all()
