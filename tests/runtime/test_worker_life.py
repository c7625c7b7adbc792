"""A worker from its start to its stop: contexts, missing handlers, health, a blocked loop, retention."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from remit import Domain, Job, Keep, Remit, Retry, Run, fixed
from remit.errors import InvalidArgument, MissingHandler, RunningLoop, StoreUnavailable, WrongSchema
from remit.runtime.duties.job_pruner import JobPruner
from remit.runtime.path.reconciler import Reconciler
from remit.runtime.settings import WorkerSettings
from remit.runtime.worker import Worker
from tests.runtime.working import all_ended, ended, opened, until, working
from tests.servers import PostgresServer

events: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    events.clear()


# Contexts


class Async(Domain[str]):
    pass


class Plain(Domain[str]):
    pass


class Broken(Domain[str]):
    pass


class Bare(Domain[None]):
    pass


async_domain, plain_domain, broken_domain, bare_domain = Async(), Plain(), Broken(), Bare()


class AskAsync(Job[Async]):
    pass


class AskAsyncInThread(Job[Async]):
    pass


class AskPlain(Job[Plain]):
    pass


class AskBroken(Job[Broken]):
    pass


class AskBare(Job[Bare]):
    pass


@async_domain.context
async def async_services() -> AsyncIterator[str]:
    events.append("async opened")
    yield "async services"
    events.append("async closed")


class PlainServices:
    """A context manager of another kind than a generator."""

    def __enter__(self) -> str:
        events.append("plain opened")
        return "plain services"

    def __exit__(self, *_: object) -> None:
        events.append("plain closed")


plain_domain.context(PlainServices)


@broken_domain.context
def broken_services() -> Iterator[str]:
    events.append("broken opened")
    raise ConnectionError("the ledger is away")
    yield "never"


@async_domain.handles(AskAsync)
async def ask_async(job: AskAsync, run: Run[Async]) -> str:
    return run.context


@async_domain.handles(AskAsyncInThread)
def ask_async_in_thread(job: AskAsyncInThread, run: Run[Async]) -> str:
    return run.context


@plain_domain.handles(AskPlain)
async def ask_plain(job: AskPlain, run: Run[Plain]) -> str:
    return run.context


@broken_domain.handles(AskBroken)
async def ask_broken(job: AskBroken, run: Run[Broken]) -> str:
    return run.context


@bare_domain.handles(AskBare)
async def ask_bare(job: AskBare, run: Run[Bare]) -> bool:
    return run.context is None


async def test_handlers_get_the_context_of_their_domain_opened_once_per_worker(store_url: str) -> None:
    async with working(store_url, async_domain, plain_domain, bare_domain) as (app, _):
        refs = [
            await async_domain.enqueue(AskAsync()),
            await async_domain.enqueue(AskAsync()),
            await async_domain.enqueue(AskAsyncInThread()),
            await plain_domain.enqueue(AskPlain()),
            await bare_domain.enqueue(AskBare()),
        ]
        results = [record.result for record in await all_ended(app, *refs)]
        assert events == ["async opened", "plain opened"]
        async with app.worker():
            assert events == ["async opened", "plain opened"] * 2
    assert results == ["async services", "async services", "async services", "plain services", True]
    assert sorted(events) == sorted(["async opened", "plain opened", "plain closed", "async closed"] * 2)
    assert events[-2:] == ["plain closed", "async closed"], "closed in the opposite order"


async def test_a_context_that_fails_stops_the_start_and_closes_the_others(store_url: str) -> None:
    app = Remit(store_url, domains=[async_domain, broken_domain])
    await app.migrate()
    async with app:
        ref = await async_domain.enqueue(AskAsync())
        with pytest.raises(ConnectionError, match="the ledger is away"):
            async with app.worker():
                pass
        assert events == ["async opened", "broken opened", "async closed"]
        assert (await app.jobs.get(ref.id)).state == "ready", "nothing was claimed"
        assert await app.workers.list() == []


# Start


class Unhandled(Domain[None]):
    pass


unhandled = Unhandled()


class Orphan(Job[Unhandled]):
    pass


async def test_a_worker_without_a_handler_for_a_job_does_not_start(store_url: str) -> None:
    app = Remit(store_url, domains=[unhandled, bare_domain])
    await app.migrate()
    with pytest.raises(MissingHandler, match=r"No handler for unhandled\.orphan"):
        async with app.worker():
            pass


async def test_a_worker_on_a_database_without_a_schema_says_which_command_to_run(bare_postgres_url: str) -> None:
    with pytest.raises(WrongSchema, match="run `remit migrate`"):
        async with Remit(bare_postgres_url, domains=[bare_domain]).worker():
            pass


async def test_a_worker_does_not_start_while_the_database_is_away(own_postgres_server: PostgresServer) -> None:
    app = Remit(own_postgres_server.create_database(), domains=[bare_domain])
    await app.migrate()
    own_postgres_server.stop()
    with pytest.raises(StoreUnavailable):
        async with app.worker():
            pass


async def test_a_worker_says_what_it_is_and_signs_off(store_url: str) -> None:
    async with working(store_url, bare_domain, plain_domain) as (app, worker):
        [record] = await app.workers.list()
        assert record.id == worker.id
        assert record.about["queues"] == {"bare.default": 10, "plain.default": 10}
        assert record.about["jobs"] == ["bare.ask-bare v1", "plain.ask-plain v1"]
        await worker.stop()
        assert await app.workers.list() == []
        assert await app.workers.leaders() == []
        await worker.stop()  # a second time does nothing


# Settings


async def test_a_worker_may_have_a_grace_and_a_lease_of_its_own(store_url: str) -> None:
    async with opened(store_url, busy, lease=20.0, grace=3600.0) as app:
        ref = await busy.enqueue(Wait())
        async with app.worker(grace=0) as worker:
            assert (worker.settings.lease, worker.settings.grace) == (20.0, 0)
            await until(lambda: ref.id in events)
        assert (await app.jobs.get(ref.id)).state == "ready", "it was not waited for"
    assert app.worker(lease=7.5).settings == WorkerSettings(lease=7.5, grace=3600.0)
    assert app.worker().settings == WorkerSettings(lease=20.0, grace=3600.0)


@pytest.mark.parametrize(
    "wrong", [{"lease": 0}, {"lease": -1.0}, {"lease": "30"}, {"grace": -0.1}, {"grace": float("inf")}]
)
def test_a_setting_that_is_no_number_of_seconds_is_refused_wherever_it_is_given(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(InvalidArgument, match=f"{name} is a number of seconds above 0"):
        Remit("sqlite://", domains=[], **wrong)
    with pytest.raises(InvalidArgument, match=f"{name} is a number of seconds above 0"):
        Remit("sqlite://", domains=[]).worker(**wrong)


def test_a_lease_that_no_machine_can_keep_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^lease is 0\.1 seconds or more, not 0\.001: workers that show no life"):
        Remit("sqlite://", domains=[]).worker(lease=0.001)
    assert Remit("sqlite://", domains=[]).worker(lease=0.1).settings.lease == 0.1


# Health


class Busy(Domain[None]):
    pass


busy = Busy()


class Wait(Job[Busy]):
    pass


@busy.handles(Wait)
async def wait(job: Wait, run: Run[Busy]) -> None:
    events.append(run.job_id)
    await asyncio.Event().wait()


class Block(Job[Busy], retry=Retry(attempts=1)):
    pass


class Quick(Job[Busy]):
    pass


@busy.handles(Block)
async def block(job: Block, run: Run[Busy]) -> None:
    blocking_the_loop()


def blocking_the_loop() -> None:
    end = time.monotonic() + 2.5  # longer than the lease below, and than the second after which it is told
    while time.monotonic() < end:
        time.sleep(0.01)


@busy.handles(Quick)
async def quick(job: Quick, run: Run[Busy]) -> None:
    pass


async def test_a_blocked_event_loop_is_named_with_its_job_and_stack_and_keeps_its_lease(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(store_url, busy, lease=2.0) as (app, worker):
        id = worker.id
        ref = await busy.enqueue(Block())
        assert (await ended(app, ref)).state == "completed"
        assert worker.id == id
    [told] = [line.getMessage() for line in caplog.records if "event loop blocked" in line.getMessage()]
    assert f"by busy.block {ref.id}" in told
    assert "in blocking_the_loop" in told
    assert "lease lost" not in caplog.text


async def test_a_worker_that_cannot_reach_the_database_says_so_and_heals(
    own_postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(own_postgres_server.create_database(), busy, lease=30.0) as (app, worker):
        await ended(app, await busy.enqueue(Quick()))
        assert worker.health() == {"ok": True}
        own_postgres_server.stop()
        await until(lambda: not worker.health()["ok"] and "producer" in worker.health()["trouble"])
        assert "StoreUnavailable" in worker.health()["trouble"]["producer"]
        await until(lambda: caplog.text.count("cannot work") >= 3)
        own_postgres_server.start()
        await until(lambda: worker.health()["ok"])
        assert (await ended(app, await busy.enqueue(Quick()))).state == "completed"
    told = [line.getMessage() for line in caplog.records if "producer cannot work" in line.getMessage()]
    assert len(told) == 1, "what goes on is told once"


async def test_what_a_worker_says_of_itself_stands_in_the_store(store_url: str) -> None:
    async with working(store_url, busy, lease=1.0) as (app, worker):

        async def health() -> dict[str, Any]:
            [record] = await app.workers.list()
            return record.health

        async def well() -> bool:
            return (await health()).get("ok") is True

        async def unwell() -> bool:
            return (await health()).get("trouble") == {"job-pruner": "out of order"}

        await until(well)
        worker.parts.get(JobPruner).trouble = "out of order"
        await until(unwell)
        worker.parts.get(JobPruner).trouble = None
        await until(well)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_what_it_could_not_say_while_others_wrote_it_says_later(store_url: str) -> None:
    async with working(store_url, busy, lease=1.0) as (app, worker):
        beats = lambda: worker.parts.heartbeat.good  # noqa: E731 - there is no other sign of a beat that cannot write
        with contextlib.closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as application:
            application.execute("BEGIN IMMEDIATE")
            worker.parts.get(JobPruner).trouble = "out of order"
            for _ in range(3):
                before = beats()
                await until(lambda before=before: beats() > before)
            application.commit()

        async def told() -> bool:
            [record] = await app.workers.list()
            return record.health.get("trouble") == {"job-pruner": "out of order"}

        await until(told)
        worker.parts.get(JobPruner).trouble = None


# Retention


class Shelf(Domain[None], keep=Keep(age=0.0, dead_age=3600.0)):
    pass


shelf = Shelf()
counted = shelf.queue("counted", keep=Keep(age=3600.0, count=3))


class Short(Job[Shelf]):
    pass


class Counted(Job[Shelf], queue=counted):
    number: int


class Dead(Job[Shelf], retry=Retry(attempts=1, backoff=fixed(0.0))):
    pass


@shelf.handles(Short)
async def short(job: Short, run: Run[Shelf]) -> None:
    pass


@shelf.handles(Counted)
async def counted_handler(job: Counted, run: Run[Shelf]) -> None:
    run.log.info("kept with the job")


@shelf.handles(Dead)
async def dead(job: Dead, run: Run[Shelf]) -> None:
    raise ValueError("kept with the job")


async def test_ended_jobs_are_removed_by_age_and_by_count_on_a_timer(store_url: str) -> None:
    async with working(store_url, shelf, prune_every=0.05) as (app, _):
        letter = await shelf.enqueue(Dead())
        await ended(app, letter)
        await shelf.enqueue_many([Short() for _ in range(30)])
        own = await shelf.enqueue(Short(), keep=3600)
        for number in range(8):
            await shelf.enqueue(Counted(number=number))

        async def left() -> list[int] | None:
            jobs = (await app.jobs.list(limit=100)).jobs
            numbers = [job.payload["number"] for job in jobs if job.name == "shelf.counted"]
            settled = len(jobs) == 5 and len(numbers) == 3 and all(job.state.is_final for job in jobs)
            return numbers if settled else None

        numbers = await until(left)
        assert numbers is not None
        assert set(numbers) <= set(range(8))
        assert (await app.jobs.get(letter.id)).state == "dead", "a dead letter waits for a person"
        assert (await app.jobs.get(own.id)).state == "completed", "a call has the last word"


# Beside an application


@asynccontextmanager
async def web_process(app: Remit) -> AsyncIterator[None]:
    """A web process that embeds a worker."""
    async with app, app.worker():
        yield


async def test_a_worker_runs_inside_a_web_process(store_url: str) -> None:
    app = Remit(store_url, domains=[busy])
    await app.migrate()
    async with web_process(app):
        refs = await asyncio.gather(*(busy.enqueue(Quick()) for _ in range(20)))
        records = await all_ended(app, *refs)
    assert {record.state for record in records} == {"completed"}
    assert all(record.finished_at and record.finished_at <= datetime.now(UTC) for record in records)


# Where it runs


async def test_a_blocking_drain_inside_an_event_loop_says_what_to_write(sqlite_url: str) -> None:
    with pytest.raises(RunningLoop, match="write `await app"):
        Remit(sqlite_url, domains=[bare_domain]).sync.drain()


def test_a_worker_runs_in_a_thread_until_it_is_asked_to_stop(sqlite_url: str) -> None:
    app = Remit(sqlite_url, domains=[mill])
    workers: list[Worker] = []

    async def run() -> None:
        workers.append(app.worker())
        await workers[0].run()

    with app.bound(), app.sync:
        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        ref = mill.sync.enqueue(Grind())
        while app.sync.jobs.get(ref.id).state != "completed":
            time.sleep(0.01)
        workers[0].request_stop()
        thread.join(30)
    assert not thread.is_alive()


async def test_a_drain_logs_the_traceback_of_what_failed(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Remit(sqlite_url, domains=[mill])
    async with app:
        await mill.enqueue(Crush())
        await app.drain()
    [failed] = [record for record in caplog.records if record.getMessage().startswith("job failed")]
    assert "\n" not in failed.getMessage()
    assert "raise ZeroDivisionError" in logging.Formatter().format(failed)


# Which queues


class Mill(Domain[None]):
    pass


mill = Mill()
flour, bran, chaff = (mill.queue(name, concurrency=2) for name in ("flour", "bran", "chaff"))


class Grind(Job[Mill], queue=flour):
    pass


class Sieve(Job[Mill], queue=bran):
    pass


class Burn(Job[Mill], queue=chaff):
    pass


class Crush(Job[Mill], queue=flour):
    pass


@mill.handles(Crush)
async def crush(job: Crush, run: Run[Mill]) -> None:
    raise ZeroDivisionError("the stones stand still")


@mill.handles(Grind)
@mill.handles(Sieve)
@mill.handles(Burn)
async def work(job: object, run: Run[Mill]) -> None:
    events.append(type(job).__name__)


@pytest.mark.parametrize(
    "chosen, runs, slots",
    [
        ({"queues": ["mill.flour"]}, ["Grind"], {"mill.flour": 2}),
        ({"exclude": ["mill.flour"]}, ["Burn", "Sieve"], {"mill.bran": 2, "mill.chaff": 2}),
        ({"queues": ["mill.flour", "mill.bran"], "exclude": ["mill.bran"]}, ["Grind"], {"mill.flour": 2}),
    ],
)
async def test_a_worker_serves_the_queues_that_it_was_given_and_leaves_the_others(
    store_url: str, chosen: dict[str, list[str]], runs: list[str], slots: dict[str, int]
) -> None:
    app = Remit(store_url, domains=[mill])
    await app.migrate()
    async with app:
        await mill.enqueue_many([Grind(), Sieve(), Burn()])
        async with app.worker(**chosen) as worker:  # type: ignore[arg-type]
            await worker.drain()
            [registered] = await app.workers.list()
            assert registered.about["queues"] == slots
            await worker.parts.get(Reconciler).turn()
            assert worker.health() == {"ok": True}, "what it leaves on purpose is no unknown work"
        assert sorted(events) == runs
        assert await app.jobs.count(state="ready") == 3 - len(runs)


@pytest.mark.parametrize(
    "chosen, words",
    [
        ({"queues": ["mill.flower"]}, "no queue of that name is declared. Did you mean 'mill.flour'?"),
        ({"exclude": ["mill.x"]}, "exclude names 'mill.x'"),
        ({"queues": ["mill.bran"], "exclude": ["mill.bran"]}, "leave this worker without any queue"),
    ],
)  # fmt: skip
async def test_queues_that_cannot_be_served_are_refused_at_the_start(
    store_url: str, chosen: dict[str, list[str]], words: str
) -> None:
    app = Remit(store_url, domains=[mill])
    await app.migrate()
    with pytest.raises(InvalidArgument, match=words.replace("?", r"\?")):
        await app.worker(**chosen).start()  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="takes several names"):
        app.worker(queues="mill.flour")
