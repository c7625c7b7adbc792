"""What a run writes and sends: with its outcome, in one commit, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from remit import Domain, Job, Retry, Run, Skip, fixed
from remit.errors import InvalidArgument, InvalidTransition, LeaseLost, OwnershipError, StoreBusy, UnsupportedHandle
from tests.runtime.working import PATIENCE, ended, until, working

AGAIN = Retry(attempts=3, backoff=fixed(0.01))


class Bank(Domain[None]):
    pass


class Shop(Domain[None]):
    pass


bank = Bank()
shop = Shop()


class Post(Job[Bank], retry=AGAIN):
    number: int = 0


class PostInThread(Job[Bank], retry=AGAIN):
    number: int = 0


class Hurried(Job[Bank], retry=Retry(attempts=1), timeout=0.3):
    pass


class Child(Job[Bank]):
    number: int


class Order(Job[Shop]):
    pass


class Behaviour:
    """What the handlers do, as the test says."""

    does: Any = None
    url = ""


@pytest.fixture(autouse=True)
def _clean(store_url: str) -> Iterator[None]:
    Behaviour.url = store_url
    with contextlib.closing(connect()) as connection:
        connection.execute("CREATE TABLE effect (number integer)")
        connection.commit()
    yield
    Behaviour.does = None


def does(function: Any) -> Any:
    Behaviour.does = staticmethod(function)
    return function


@bank.handles(Post)
async def post(job: Post, run: Run[Bank]) -> Any:
    return await Behaviour.does(job, run)


@bank.handles(PostInThread)
def post_in_thread(job: PostInThread, run: Run[Bank]) -> Any:
    return Behaviour.does(job, run)


@bank.handles(Hurried)
async def hurried(job: Hurried, run: Run[Bank]) -> Any:
    return await Behaviour.does(job, run)


@bank.handles(Child)
async def child(job: Child, run: Run[Bank]) -> int:
    return job.number


@shop.handles(Order)
async def order(job: Order, run: Run[Shop]) -> Any:
    return await Behaviour.does(job, run)


def is_sqlite() -> bool:
    return Behaviour.url.startswith("sqlite")


def path() -> str:
    return Behaviour.url.removeprefix("sqlite:///")


def connect() -> Any:
    """A blocking connection of the application's own."""
    return sqlite3.connect(path(), timeout=30) if is_sqlite() else psycopg.connect(Behaviour.url)


def insert(number: int = 1) -> str:
    return f"INSERT INTO effect (number) VALUES ({number})"


def effects() -> list[int]:
    with contextlib.closing(connect()) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM effect ORDER BY number").fetchall()]


def begin(connection: Any) -> None:
    if is_sqlite():
        connection.execute("BEGIN IMMEDIATE")


# What is sent


async def test_what_a_run_sends_exists_if_and_only_if_it_succeeds(store_url: str) -> None:
    @does
    async def sends(_: Any, run: Run[Bank]) -> None:
        run.enqueue(Child(number=run.attempt))
        run.enqueue(Child(number=10 * run.attempt), priority=-3, delay=3600, label="later")
        if run.attempt < 3:
            raise ValueError

    async with working(store_url, bank) as (app, _):
        ref = await bank.enqueue(Post())
        assert (await ended(app, ref)).state == "completed"
        children = (await app.jobs.list(job="bank.child")).jobs
        assert sorted(child.payload["number"] for child in children) == [3, 30]
        [later] = [child for child in children if child.payload["number"] == 30]
        assert (later.priority, later.label, later.state) == (-3, "later", "scheduled")
        assert {(child.causation, child.correlation) for child in children} == {(ref.id, ref.id)}


@pytest.mark.parametrize("outcome", [Skip("no"), ValueError("no")], ids=["skip", "error"])
async def test_a_run_that_does_not_succeed_sends_nothing(store_url: str, outcome: BaseException) -> None:
    @does
    async def sends(_: Any, run: Run[Bank]) -> None:
        run.enqueue(Child(number=1))
        raise outcome

    async with working(store_url, bank) as (app, _):
        await ended(app, await bank.enqueue(Post()))
        assert (await app.jobs.list(job="bank.child")).jobs == ()


async def test_a_run_cannot_send_what_another_domain_owns(store_url: str) -> None:
    refused: list[str] = []

    @does
    async def reaches(_: Any, run: Any) -> None:
        for attempt in (
            lambda: run.enqueue(Order()),
            lambda: shop.enqueue(Order()),
            lambda: shop.enqueue_named("order", {}),
        ):
            try:
                result = attempt()
                if asyncio.iscoroutine(result):
                    await result
            except OwnershipError as error:
                refused.append(str(error))
        with pytest.raises(OwnershipError):
            shop.sync.enqueue(Order())

    async with working(store_url, bank, shop) as (app, _):
        assert (await ended(app, await bank.enqueue(Post()))).state == "completed"
        assert (await app.jobs.list(job="shop.order")).jobs == ()
    assert len(refused) == 3
    assert all("publish an event" in text for text in refused)


async def test_a_message_is_checked_where_it_is_sent(store_url: str) -> None:
    @does
    async def sends(_: Any, run: Run[Bank]) -> str:
        with pytest.raises(InvalidArgument):
            run.enqueue(Child(number=1), delay=-1)
        return "checked"

    async with working(store_url, bank) as (app, _):
        assert (await ended(app, await bank.enqueue(Post()))).result == "checked"


# run.transaction()


async def test_the_effect_of_a_transaction_happens_exactly_once(store_url: str) -> None:
    @does
    async def deposits(job: Post, run: Run[Bank]) -> None:
        async with run.transaction() as tx:
            await tx.execute(insert(job.number))
            assert (await tx.execute("SELECT count(*) FROM effect WHERE number = " + str(job.number)))[0][0] == 1
            if run.attempt == 1 and job.number % 2:
                raise ValueError("after the effect")
            run.enqueue(Child(number=job.number))
            run.result = f"deposited {job.number}"

    async with working(store_url, bank) as (app, _):
        refs = await bank.enqueue_many([Post(number=n) for n in range(8)])
        records = [await ended(app, ref) for ref in refs]
        children = (await app.jobs.list(job="bank.child")).jobs
    assert [record.result for record in records] == [f"deposited {n}" for n in range(8)]
    assert effects() == list(range(8))
    assert sorted(child.payload["number"] for child in children) == list(range(8))


async def test_the_same_from_a_blocking_handler(store_url: str) -> None:
    @does
    def deposits(job: PostInThread, run: Run[Bank]) -> None:
        with run.sync.transaction() as tx:
            tx.execute(insert(job.number))
            if run.attempt == 1:
                raise ValueError("after the effect")
            run.result = tx.execute("SELECT count(*) FROM effect")[0][0]

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(PostInThread(number=7)))
    assert (record.state, record.failures, record.result) == ("completed", 1, 1)
    assert effects() == [7]


async def test_a_second_transaction_and_a_late_message_are_refused(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        async with run.transaction() as tx:
            await tx.execute(insert())
        with pytest.raises(InvalidTransition) as second:
            async with run.transaction():
                pass
        with pytest.raises(InvalidTransition) as late:
            run.enqueue(Child(number=1))
        with pytest.raises(InvalidTransition) as again:
            await run.complete()
        refused.extend(str(error.value) for error in (second, late, again))
        raise RuntimeError("after the completion")

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Post()))
        await until(lambda: "handler failed after its job was completed" in caplog.text)
    assert (record.state, record.failures) == ("completed", 0)
    assert len(refused) == 3
    assert all("this run of bank.post is complete" in text for text in refused)
    assert effects() == [1]


async def test_a_lost_lease_is_told_at_the_end_of_the_block_and_rolls_back(store_url: str) -> None:
    told: list[type] = []

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        try:
            async with run.transaction() as tx:
                await tx.execute(insert())
                if not told:
                    table = "remit_job" if is_sqlite() else "remit.job"
                    await tx.execute(f"UPDATE {table} SET token = 5")  # as if another worker had claimed it
        except Exception as error:
            told.append(type(error))
            raise

    async with working(store_url, bank, lease=1.5) as (app, _):
        ref = await bank.enqueue(Post())
        await until(lambda: told)
        assert told == [LeaseLost]
        assert (await ended(app, ref)).state == "completed"
    assert effects() == [1]


async def test_a_handler_that_runs_out_of_time_in_its_transaction_leaves_nothing(store_url: str) -> None:
    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        async with run.transaction() as tx:
            await tx.execute(insert())
            await asyncio.sleep(60)

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Hurried()))
        assert [error.kind for error in record.errors] == ["TimeoutError"]
        await bank.enqueue(Child(number=1))  # the write lock is free
    assert effects() == []


ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@ON_SQLITE
async def test_a_handler_that_runs_out_of_time_while_it_waits_for_the_write_lock_never_gets_it(store_url: str) -> None:
    started, locked = asyncio.Event(), asyncio.Event()

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        started.set()
        await locked.wait()
        async with run.transaction() as tx:
            await tx.execute(insert())

    async with working(store_url, bank) as (app, worker):
        ref = await bank.enqueue(Hurried())
        await started.wait()
        with contextlib.closing(connect()) as application:
            application.execute("BEGIN IMMEDIATE")
            locked.set()
            await until(lambda: not worker.parts.executor.active, "its time is up")
            application.execute(insert(100))
            application.commit()
        record = await ended(app, ref)
        assert [error.kind for error in record.errors] == ["TimeoutError"]
        for number in range(5):
            await bank.enqueue(Child(number=number))
    assert effects() == [100]


@ON_SQLITE
async def test_a_send_without_tx_inside_a_transaction_does_not_wait_for_itself(store_url: str) -> None:
    told: list[str] = []

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        async with run.transaction() as tx:
            await tx.execute(insert())
            for send in (
                lambda: bank.enqueue(Child(number=1)),
                lambda: asyncio.to_thread(bank.sync.enqueue, Child(number=2)),
            ):
                with pytest.raises(StoreBusy) as refused:
                    await send()
                told.append(str(refused.value))
            await bank.enqueue(Child(number=3), tx=tx)

    async with working(store_url, bank) as (app, _):
        assert (await ended(app, await bank.enqueue(Post()))).state == "completed"
        children = (await app.jobs.list(job="bank.child")).jobs
    assert [child.payload["number"] for child in children] == [3]
    assert all("wait for its own write lock" in text for text in told)


# run.complete(tx=…)


async def complete_on_sqlalchemy_async(run: Run[Bank], commit: bool) -> None:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path()}" if is_sqlite() else Behaviour.url.replace("postgresql:", "postgresql+asyncpg:")
    )
    async with AsyncSession(engine) as session:
        await session.execute(sqlalchemy.text(insert()))
        await run.complete("done", tx=session)
        await (session.commit() if commit else session.rollback())
    await engine.dispose()


async def complete_on_sqlalchemy_blocking(run: Run[Bank], commit: bool) -> None:
    def work() -> None:
        engine = sqlalchemy.create_engine(
            f"sqlite:///{path()}" if is_sqlite() else Behaviour.url.replace("postgresql:", "postgresql+psycopg:")
        )
        with Session(engine) as session:
            session.execute(sqlalchemy.text(insert()))
            run.sync.complete("done", tx=session)
            session.commit() if commit else session.rollback()
        engine.dispose()

    await asyncio.to_thread(work)


async def complete_on_the_blocking_driver(run: Run[Bank], commit: bool) -> None:
    def work() -> None:
        with contextlib.closing(connect()) as connection:
            begin(connection)
            connection.execute(insert())
            run.sync.complete("done", tx=connection)
            connection.commit() if commit else connection.rollback()

    await asyncio.to_thread(work)


async def complete_on_the_async_driver(run: Run[Bank], commit: bool) -> None:
    if is_sqlite():
        async with aiosqlite.connect(path()) as connection:
            await connection.execute(insert())
            await run.complete("done", tx=connection)
            await (connection.commit() if commit else connection.rollback())
        return
    async with await psycopg.AsyncConnection.connect(Behaviour.url) as connection:
        await connection.execute(insert())
        await run.complete("done", tx=connection)
        await (connection.commit() if commit else connection.rollback())


async def complete_on_asyncpg(run: Run[Bank], commit: bool) -> None:
    connection = await asyncpg.connect(Behaviour.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(insert())
    await run.complete("done", tx=connection)
    await (transaction.commit() if commit else transaction.rollback())
    await connection.close()


HANDLES = [
    complete_on_sqlalchemy_async,
    complete_on_sqlalchemy_blocking,
    complete_on_the_blocking_driver,
    complete_on_the_async_driver,
]


@pytest.mark.parametrize("complete", HANDLES, ids=lambda function: function.__name__.removeprefix("complete_on_"))
async def test_a_completion_joins_the_transaction_of_the_caller(store_url: str, complete: Any) -> None:
    await check_completion(store_url, complete)


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_completion_joins_the_transaction_of_asyncpg(store_url: str) -> None:
    await check_completion(store_url, complete_on_asyncpg)


async def check_completion(url: str, complete: Any) -> None:
    """Rolled back at first, and committed by the second attempt."""

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        run.enqueue(Child(number=run.attempt))
        await complete(run, commit=run.attempt == 2)

    async with working(url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Post()))
        children = (await app.jobs.list(job="bank.child")).jobs
    assert (record.state, record.result, record.failures) == ("completed", "done", 1)
    assert [error.kind for error in record.errors] == ["CompletionRolledBack"]
    assert [child.payload["number"] for child in children] == [2]
    assert effects() == [1]


async def test_a_completion_that_is_never_committed_is_a_failure(store_url: str) -> None:
    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        if run.attempt > 1:
            return

        def work() -> None:
            connection = connect()
            begin(connection)
            connection.execute(insert())
            run.sync.complete(tx=connection)
            connection.close()

        await asyncio.to_thread(work)

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Post()))
    assert (record.state, record.failures) == ("completed", 1)
    assert effects() == []


async def test_a_completion_waits_for_the_end_of_a_transaction_that_outlives_the_handler(store_url: str) -> None:
    left: list[Any] = []

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        def work() -> None:
            connection = sqlite3.connect(path(), timeout=30, check_same_thread=False) if is_sqlite() else connect()
            begin(connection)
            connection.execute(insert())
            run.sync.complete("late", tx=connection)
            left.append(connection)

        await asyncio.to_thread(work)

    async with working(store_url, bank, lease=2.0) as (app, worker):
        ref = await bank.enqueue(Post())
        await until(lambda: left and not worker.parts.executor.active)
        left[0].commit()
        left[0].close()
        record = await ended(app, ref)
    assert (record.state, record.result, record.failures) == ("completed", "late", 0)
    assert effects() == [1]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_completion_that_has_landed_is_settled_while_somebody_writes(store_url: str) -> None:
    writer = sqlite3.connect(path(), check_same_thread=False)

    @does
    async def deposits(_: Any, run: Run[Bank]) -> None:
        await complete_on_the_blocking_driver(run, commit=True)
        writer.execute("BEGIN IMMEDIATE")

    async with working(store_url, bank) as (app, worker):
        ref = await bank.enqueue(Post())
        await until(lambda: writer.in_transaction and not worker.parts.executor.active)
        async with asyncio.timeout(PATIENCE):
            await worker.parts.prober.settled()
        assert writer.in_transaction
        assert (await app.jobs.get(ref.id)).state == "completed"
        writer.close()
    assert effects() == [1]


async def test_completing_without_tx_is_a_transaction_of_its_own(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    @does
    async def completes(_: Any, run: Run[Bank]) -> str:
        run.enqueue(Child(number=1))
        await run.complete({"early": True})
        return "not this"

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Post()))
        assert len((await app.jobs.list(job="bank.child")).jobs) == 1
    assert (record.state, record.result) == ("completed", {"early": True})
    assert f"result not kept: bank.post {record.id}: its job was completed before it returned" in caplog.text


async def test_the_result_that_a_job_was_completed_with_may_be_returned_as_well(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    @does
    async def completes(_: Any, run: Run[Bank]) -> Any:
        await run.complete({"posted": (1, 2)})
        return {"posted": [1, 2]}

    async with working(store_url, bank) as (app, _):
        record = await ended(app, await bank.enqueue(Post()))
    assert record.result == {"posted": [1, 2]}
    assert "result not kept" not in caplog.text


async def test_a_result_that_is_not_kept_is_reported_once_for_each_handler_and_cause(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    @does
    async def completes(_: Any, run: Run[Bank]) -> Any:
        if run.attempt == 1 and len(unkept) % 2:
            await run.complete("posted")
        unkept.append(run.job_id)
        return object() if len(unkept) % 2 else "something else"

    unkept: list[str] = []
    async with working(store_url, bank) as (app, _):
        for _ in range(6):
            await ended(app, await bank.enqueue(Post()))
    told = [record.getMessage() for record in caplog.records if "result not kept" in record.getMessage()]
    assert [text.partition(": ")[2].split()[1].rstrip(":") for text in told] == unkept[:2]


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_blocking_run_does_not_wait_for_an_async_handle(store_url: str) -> None:
    @does
    async def completes(_: Any, run: Run[Bank]) -> str:
        async with await psycopg.AsyncConnection.connect(store_url) as connection:
            with pytest.raises(UnsupportedHandle, match="blocking handle"):
                run.sync.complete(tx=connection)
        return "refused"

    async with working(store_url, bank) as (app, _):
        assert (await ended(app, await bank.enqueue(Post()))).result == "refused"
