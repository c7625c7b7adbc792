"""The moment of a fence: what a worker had claimed, had asked for, or was about to start, does not start any more.

Each test holds a worker at one place, takes its lease away there, and lets it go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from remit import Domain, Job, Remit, Run
from remit.db.transaction import Role
from remit.execution.model import Claim
from remit.jobs.ids import new_token
from remit.runtime.duties.rescuer import Rescuer
from remit.runtime.worker import Worker
from tests.runtime.working import all_ended, ended, opened, until


class Moat(Domain[None], handlers="tests.runtime.test_fence"):
    pass


moat = Moat()
bridge = moat.queue("bridge", concurrency=1)


class Cross(Job[Moat], queue=bridge):
    number: int
    blocks: bool = False


class Shared:
    def __init__(self) -> None:
        self.starts: list[tuple[int, str]] = []
        self.blocked = asyncio.Event()
        self.gate = asyncio.Event()


shared = Shared()


@pytest.fixture(autouse=True)
async def _fresh() -> AsyncIterator[None]:
    shared.__init__()  # type: ignore[misc]
    yield
    shared.gate.set()


@moat.handles(Cross)
async def cross(job: Cross, run: Run[Moat]) -> None:
    shared.starts.append((job.number, run.worker))  # type: ignore[attr-defined]
    if job.blocks and not shared.blocked.is_set():
        shared.blocked.set()
        await shared.gate.wait()


class Held:
    """Holds the next answer of a method until the test lets it go."""

    def __init__(self, method: Callable[..., Any], when: Callable[[Any], bool]) -> None:
        self._method = method
        self._when = when
        self.here, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, *args: Any) -> Any:
        answer = await self._method(*args)
        if not self.here.is_set() and self._when(answer):
            self.here.set()
            await self.go.wait()
        return answer


async def rescue_from(app: Remit, worker: Worker, life: str) -> None:
    """Forget a registration, as others do, and let this worker's next life rescue what it held."""
    async with app.store.database(Role.HANDLER).session() as session:
        table = "remit_worker" if app.store.dialect == "sqlite" else "remit.worker"
        await session.execute(f"DELETE FROM {table} WHERE id = '{life}'")
    worker.parts.get(Rescuer).wake()


async def test_claims_that_wait_for_a_slot_do_not_start_after_a_fence(store_url: str) -> None:
    """One slot, and a backlog of short jobs, so that some are claimed ahead of the one that blocks it."""
    count, blocking = 200, 100
    async with opened(store_url, moat) as app:
        refs = await moat.enqueue_many([Cross(number=n, blocks=n == blocking) for n in range(count)])
        async with app.worker() as worker:
            await shared.blocked.wait()
            prefetch = worker.lines.prefetches["moat.bridge"]
            # An outcome that is not written by then is lost, and its job runs again.
            await worker.parts.completer.flushed()
            await until(lambda: prefetch.waiting, "some are claimed ahead")
            before, life = len(shared.starts), worker.id
            worker.lose("so says the test")
            assert prefetch.waiting == 0, "what waited is not ours any more"
            shared.gate.set()
            await rescue_from(app, worker, life)
            records = await all_ended(app, *refs)
    assert {(record.state, record.failures) for record in records} == {("completed", 0)}
    assert life not in {worker for _, worker in shared.starts[before:]}
    assert Counter(number for number, _ in shared.starts) == Counter([*range(count), blocking])


async def test_a_claim_that_is_not_in_the_ledger_does_not_start(store_url: str) -> None:
    async with opened(store_url, moat) as app, app.worker() as worker:
        await app.queues.pause("moat.bridge")
        ref = await moat.enqueue(Cross(number=1))
        [line] = [number for number, line in worker.catalog.lines.items() if line.name == "moat.cross"]
        claim = Claim(ref.id, new_token(), line, 0, 3, False, "json", '{"number":1}', None, ref.id, "moat.cross")
        prefetch = worker.lines.prefetches["moat.bridge"]
        prefetch.put([claim])
        await until(lambda: not prefetch.waiting and not prefetch.running, "a slot has taken it")
        assert shared.starts == []
        await app.queues.resume("moat.bridge")
        await ended(app, ref)
    assert [number for number, _ in shared.starts] == [1]


async def test_a_claim_that_is_answered_after_a_fence_is_not_taken(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(store_url, moat) as app, app.worker() as worker:
        reply = Held(worker.parts.producer.ask, when=lambda reply: bool(reply.claims))
        monkeypatch.setattr(worker.parts.producer, "ask", reply)
        ref = await moat.enqueue(Cross(number=1))
        await reply.here.wait()
        ledger = worker.claims.ledger
        worker.lose("so says the test")
        reply.go.set()
        await until(lambda: worker.claims.ledger is not ledger and not ledger.busy, "it lives again")
        await rescue_from(app, worker, ledger.worker)
        record = await ended(app, ref)
    assert (record.state, record.failures) == ("completed", 0)
    assert [number for number, life in shared.starts if life != ledger.worker] == [1]
    assert len(shared.starts) == 1


async def test_a_suspect_whose_start_is_noted_while_the_lease_is_lost_does_not_start_and_costs_nothing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(store_url, moat) as app:
        ref = await moat.enqueue(Cross(number=1))
        async with app.store.database(Role.HANDLER).session() as session:
            table = "remit_job" if app.store.dialect == "sqlite" else "remit.job"
            await session.execute(f"UPDATE {table} SET suspect = 1")
        async with app.worker() as worker:
            noted = Held(worker.parts.executor._note_start, when=bool)
            monkeypatch.setattr(worker.parts.executor, "_note_start", noted)
            await noted.here.wait()
            life = worker.id
            worker.lose("so says the test")
            noted.go.set()
            await until(lambda: worker.id != life, "it lives again")
            record = await ended(app, ref)
    assert (record.state, record.failures, record.suspect) == ("completed", 0, False)
    assert [number for number, started in shared.starts if started != life] == [1]
    assert len(shared.starts) == 1
