"""A crash at every call to the store. Whatever it was, the next worker finishes the work, and the promises hold.

Calls are named by their statement, and BEGIN and COMMIT of a handler's transaction are calls too. Loops look when they
like, so the n-th call of a name stays the same call from run to run, the n-th of all would not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar, get_args

import pytest

from remit import Domain, Remit, State
from remit.client import records
from remit.db.opening import open_store
from remit.db.store import Store
from remit.errors import StoreError
from remit.jobs import operations as jobs
from remit.jobs.model import JobRecord
from remit.runtime import operations as workers
from remit.runtime.worker import Worker
from tests.conformance.desk import Desk
from tests.crash import shop
from tests.crash.calls import BY_THEMSELVES, FIRST_LIFE, NOT_COUNTED, SECOND_LIFE, WAY, Tables, Tries, struck
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


class World:
    """A database, and the processes that come and go on it."""

    domain: Domain = shop.crashing
    prune_every = 60.0
    """Seconds; sooner where one of these calls is to be struck."""

    def __init__(self, store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.url = url
        self.monkeypatch = monkeypatch
        self.desk = Desk(store, "asyncio")
        self.sent: dict[str, str] = {}

    async def begin_again(self) -> None:
        shop.forget()
        await self.empty("{job}", "{worker}", "{leader}", "{effect}")

    async def empty(self, *tables: str) -> None:
        for table in tables:
            await self.desk.execute(f"DELETE FROM {table}")

    def app(self, fate: Fate) -> Remit:
        """The application in a new process."""
        self.monkeypatch.setattr("remit.app.open_store", lambda *_, **__: DyingStore(self.store, fate))
        prune_every = 0.05 if fate.name in BY_THEMSELVES else self.prune_every
        return Remit(self.url, domains=[self.domain], prune_every=prune_every)

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
        """Until nothing is left to do and the worker knows it, or its process has died.

        A call that comes by itself, and is to be struck, is waited for.
        """
        async with asyncio.timeout(PATIENCE):
            while not fate.dead and (
                len(worker.claims.ledger)
                or len(worker.parts.completer)
                or (fate.name in BY_THEMSELVES and fate.calls[fate.name] < fate.number)
                or await self.left()
            ):
                await asyncio.sleep(0.005)

    async def left(self) -> bool:
        """Whether there is something to do."""
        return bool(await self.desk(jobs.waiting))

    async def first_life(self, fate: Fate) -> None:
        """The application sends and a worker works, until one of them dies."""
        await self.send(fate)
        if not fate.dead:
            await self.live(fate)

    async def second_life(self, fate: Fate) -> None:
        """The first worker died when it had claimed twice and heard of it once: the next one has suspects."""
        await self.send(Fate())
        first = Fate("claim", 2, "after")
        await self.live(first)
        assert first.dead
        await self.funeral()
        await self.live(fate)

    async def funeral(self) -> None:
        """As when a lease has passed: nobody counts on the dead any more."""
        for worker, beat in (await self.desk(workers.beats)).items():
            assert await self.desk(workers.declare_dead, worker, beat=beat)
        await self.desk.execute("DELETE FROM {leader}")

    # --- what must be true

    async def judge(self) -> None:
        rows = await self.desk(records.list_jobs, **EVERYTHING)
        failed = {str(id) for (id,) in await self.desk.execute("SELECT job FROM {failure}")}
        found = {job.id: await self.desk.get(job.id) if job.id in failed else job for job in rows.jobs}
        assert set(self.sent) <= set(found), "a committed job is lost"
        for job in found.values():
            self.judge_job(job)
        effects = Counter(str(id) for (id,) in await self.desk.execute("SELECT job FROM {effect}"))
        posted = [job.id for job in found.values() if job.name in shop.POSTERS]
        assert effects == Counter(posted), "an effect inside the database happens exactly once"
        told = Counter(job.causation for job in found.values() if job.name == "crashing.told")
        senders = [job.id for job in found.values() if job.name in shop.SENDERS]
        assert told == Counter(dict.fromkeys(senders, 2)), "a message is sent exactly once"
        assert set(found) - set(self.sent) == {job.id for job in found.values() if job.causation is not None}
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
    **dict.fromkeys(["state", "domain", "queue", "names", "label", "reason", "after"]),
    "deleted": True,
    "limit": 1000,
}


W = TypeVar("W", bound=World)


async def end(worker: Worker) -> None:
    """End what is left of a worker whose process has died: every call of it is refused, so nothing is written."""
    await worker.close()


@pytest.fixture
async def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    url: str = request.getfixturevalue(f"empty_{request.param}")
    monkeypatch.setattr("remit.db.fallbacks.PROMOTER", 0.05)
    one = World(open_store(url), url, monkeypatch)
    await one.desk.execute("DROP TABLE IF EXISTS {effect}")
    await one.desk.execute("CREATE TABLE {effect} (job text NOT NULL)")
    async with one.desk:
        yield one


both_stores = pytest.mark.parametrize("world", ["sqlite", "postgres"], indirect=True)
either_way = pytest.mark.parametrize("when", get_args(When))


def each(tables: Tables, numbers: Callable[[Tries], Sequence[int]]) -> pytest.MarkDecorator:
    """The test gets a database, a name, and the numbers of it that are to be struck."""
    cases = [
        pytest.param(store, name, numbers(tries), id=f"{store}-{name}")
        for store, table in tables.items()
        for name, tries in table.items()
        if numbers(tries)
    ]
    return pytest.mark.parametrize("world,name,numbers", cases, indirect=["world"])


def surely(tries: Tries) -> Sequence[int]:
    return tries.sure


def perhaps(tries: Tries) -> Sequence[int]:
    return tries.perhaps


async def strike(
    world: W, life: Callable[[W, Fate], Awaitable[None]], name: str, numbers: Sequence[int], when: When
) -> list[int]:
    """One life for each number, cut short there, and one to finish its work. Answers which numbers did not come."""
    unmade = []
    for number in numbers:
        await world.begin_again()
        fate = Fate(name, number, when)
        await life(world, fate)
        if not fate.dead:
            unmade.append(number)
        await world.funeral()
        await world.live(Fate())
        await world.judge()
    return unmade


def say(name: str, unmade: Sequence[int]) -> None:
    """Where nothing was struck, the test does not claim that it was."""
    if unmade:
        pytest.skip(f"not made this time: {name} {', '.join(map(str, unmade))}")


@each(FIRST_LIFE, surely)
@either_way
async def test_a_crash_at_any_call_loses_nothing_and_doubles_nothing(
    world: World, name: str, numbers: Sequence[int], when: When
) -> None:
    assert await strike(world, World.first_life, name, numbers, when) == [], "a number that was not made"


@each(FIRST_LIFE, perhaps)
@either_way
async def test_a_crash_at_a_call_that_may_come(world: World, name: str, numbers: Sequence[int], when: When) -> None:
    say(name, await strike(world, World.first_life, name, numbers, when))


@each(SECOND_LIFE, surely)
@either_way
async def test_a_crash_of_the_next_worker_at_any_call(
    world: World, name: str, numbers: Sequence[int], when: When
) -> None:
    assert await strike(world, World.second_life, name, numbers, when) == [], "a number that was not made"


@each(SECOND_LIFE, perhaps)
@either_way
async def test_a_crash_of_the_next_worker_at_a_call_that_may_come(
    world: World, name: str, numbers: Sequence[int], when: When
) -> None:
    say(name, await strike(world, World.second_life, name, numbers, when))


@both_stores
async def test_whatever_these_lives_call_is_struck(world: World) -> None:
    for life in (World.first_life, World.second_life):
        await world.begin_again()
        fate = Fate()
        await life(world, fate)
        await world.judge()
        assert set(fate.calls) - NOT_COUNTED <= struck(world.store.dialect, FIRST_LIFE, SECOND_LIFE, WAY)
