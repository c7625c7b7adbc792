"""A crash at every call to the store. Whatever it was, the next worker finishes the work, and the promises hold.

Calls are named by their statement, and BEGIN and COMMIT of a handler's transaction are calls too. Loops look when they
like, so the n-th call of a name stays the same call from run to run, the n-th of all would not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from remit import Remit, State
from remit.db.opening import open_store
from remit.db.store import Store
from remit.errors import StoreError
from remit.jobs import operations as jobs
from remit.jobs.model import JobRecord
from remit.runtime import operations as workers
from remit.runtime.worker import Worker
from tests.conformance.desk import Desk
from tests.crash import shop
from tests.crash.dying import DyingStore, Fate, When

PATIENCE = 30

ENDS = {
    "crashing.succeed": State.COMPLETED,
    "crashing.fail-once": State.COMPLETED,
    "crashing.fail-always": State.DEAD,
    "crashing.give-up": State.DEAD,
    "crashing.pass": State.SKIPPED,
    "crashing.doze": State.COMPLETED,
    "crashing.send": State.COMPLETED,
    "crashing.post": State.COMPLETED,
    "crashing.post-in-thread": State.COMPLETED,
    "crashing.complete": State.COMPLETED,
    "crashing.told": State.COMPLETED,
}

FIRST_LIFE = {
    "store": 1,
    "enqueue": 3,
    "register": 1,
    "elect": 1,
    "lines": 1,
    "held": 1,
    "rescue": 1,
    "claim": 4,
    "finish": 8,
    "promote": 2,
    "begin": 2,
    "execute": 2,
    "commit": 2,
    "resign": 1,
    "deregister": 1,
    "log": 1,
    "final_queues": 1,
    "prune_kept": 1,
}
"""The calls of a worker's life, and how many of each are tried: the later ones differ from the first in nothing."""

FIRST_TURNS = {"elect", "lines", "held", "rescue", "promote", "final_queues", "prune_kept"}

SECOND_LIFE = {"elect": 1, "rescue": 1, "start_suspect": 5, "claim": 2, "finish": 6, "begin": 2, "commit": 2}
"""Of the worker that comes after a crash, with suspects among its jobs."""


class World:
    """A database, and the processes that come and go on it."""

    def __init__(self, store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.url = url
        self.monkeypatch = monkeypatch
        self.desk = Desk(store, "asyncio")
        self.sent: dict[str, str] = {}

    def app(self, fate: Fate) -> Remit:
        """The application in a new process."""
        self.monkeypatch.setattr("remit.app.open_store", lambda *_, **__: DyingStore(self.store, fate))
        return Remit(self.url, domains=[shop.crashing])

    async def send(self, fate: Fate) -> None:
        app = self.app(fate)
        with app.bound():
            try:
                await shop.crashing.enqueue_many([kind() for kind in shop.KINDS])
                await shop.crashing.enqueue(shop.Succeed(n=7), delay=0.001, label="late")
                await shop.crashing.enqueue(shop.Pass(), priority=-1)
            except StoreError:
                assert fate.dead
            finally:
                await app._connections.close()
        self.sent = {str(id): payload for id, payload in await self.desk.execute("SELECT id, payload FROM {job}")}

    async def live(self, fate: Fate) -> None:
        """A worker works until nothing is left, or until it dies; then nothing of it writes any more."""
        app = self.app(fate)
        with app.bound():
            worker = app.worker()
            try:
                await worker.start()
            except StoreError:
                assert fate.dead
                return
            await self.quiet(worker, fate)
            if fate.dead:
                await end(worker)
            else:
                await worker.stop()

    async def quiet(self, worker: Worker, fate: Fate) -> None:
        """Until every job has ended and the worker knows it, or its process has died.

        A loop that is to die in its first turn gets its first turn.
        """
        async with asyncio.timeout(PATIENCE):
            while not fate.dead and (
                len(worker.ledger)
                or len(worker.completer)
                or (fate.name in FIRST_TURNS and not fate.calls[fate.name])
                or await self.desk(jobs.waiting)
            ):
                await asyncio.sleep(0.002)

    async def funeral(self) -> None:
        """As when a lease has passed: nobody counts on the dead any more."""
        for worker, beat in (await self.desk(workers.beats)).items():
            assert await self.desk(workers.bury, worker, beat=beat)
        await self.desk.execute("DELETE FROM {leader}")

    # --- what must be true

    async def judge(self) -> None:
        rows = await self.desk(jobs.list_jobs, **EVERYTHING)
        records = {job.id: await self.desk.get(job.id) for job in rows.jobs}
        assert set(self.sent) <= set(records), "a committed job is lost"
        for job in records.values():
            self.judge_job(job)
        effects = Counter(str(id) for (id,) in await self.desk.execute("SELECT job FROM effect"))
        posted = [job.id for job in records.values() if job.name in shop.POSTERS]
        assert effects == Counter(posted), "an effect inside the database happens exactly once"
        told = Counter(job.causation for job in records.values() if job.name == "crashing.told")
        senders = [job.id for job in records.values() if job.name in shop.SENDERS]
        assert told == Counter(dict.fromkeys(senders, 2)), "a message is sent exactly once"
        assert set(records) - set(self.sent) == {job.id for job in records.values() if job.causation is not None}
        assert await self.desk(workers.beats) == {}

    def judge_job(self, job: JobRecord) -> None:
        assert job.state is ENDS[job.name], job
        assert job.worker is None
        assert shop.runs[job.id] >= 1, "it never ran"
        crashes = [failure for failure in job.errors if failure.kind == "WorkerDied"]
        given_up = job.name == "crashing.give-up"
        assert job.failures == len(job.errors) + given_up, "attempts charged are failures and crashes of suspects"
        assert [failure.attempt for failure in job.errors] == list(range(1, len(job.errors) + 1))
        assert {failure.attempt for failure in job.errors if failure not in crashes} <= shop.errors[job.id]
        if job.id in self.sent:
            assert job.payload_text == self.sent[job.id]
        if job.state is State.DEAD:
            assert job.reason


EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(["state", "domain", "queue", "name", "label", "reason", "after"]),
    "deleted": True,
    "limit": 1000,
}


async def end(worker: Worker) -> None:
    """End what is left of a worker whose process has died: every call of it is refused, so nothing is written."""
    await worker._close()


@pytest.fixture
async def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    url: str = request.getfixturevalue(f"empty_{request.param}")
    one = World(open_store(url), url, monkeypatch)
    await one.desk.execute("DROP TABLE IF EXISTS effect")
    await one.desk.execute("CREATE TABLE effect (job text NOT NULL)")
    async with one.desk:
        yield one


async def begin_again(world: World) -> None:
    shop.forget()
    for table in ("{job}", "{worker}", "{leader}", "effect"):
        await world.desk.execute(f"DELETE FROM {table}")


both_stores = pytest.mark.parametrize("world", ["sqlite", "postgres"], indirect=True)


@both_stores
@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("name", FIRST_LIFE)
async def test_a_crash_at_any_call_loses_nothing_and_doubles_nothing(world: World, name: str, when: When) -> None:
    for number in range(1, FIRST_LIFE[name] + 1):
        await begin_again(world)
        fate = Fate(name, number, when)
        await world.send(fate)
        if not fate.dead:
            await world.live(fate)
        assert fate.dead or number > 1, f"nobody calls {name}"
        await world.funeral()
        await world.live(Fate())
        await world.judge()


@both_stores
@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("name", SECOND_LIFE)
async def test_a_crash_of_the_next_worker_at_any_call(world: World, name: str, when: When) -> None:
    """The first died when it had claimed everything and heard nothing; the next one has suspects."""
    for number in range(1, SECOND_LIFE[name] + 1):
        await begin_again(world)
        await world.send(Fate())
        await world.live(Fate("claim", 2, "after"))
        await world.funeral()
        fate = Fate(name, number, when)
        await world.live(fate)
        assert fate.dead or number > 1, f"nobody calls {name}"
        await world.funeral()
        await world.live(Fate())
        await world.judge()
