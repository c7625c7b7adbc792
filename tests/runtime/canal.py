"""A domain whose ordered deliveries end in every way; a child process imports this, and no test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import Any

import aiosqlite
import psycopg

from remit import DeadLetter, Domain, Event, Job, Retry, RetryAfter, Run, Skip, Snooze, fixed

AGAIN = Retry(attempts=2, backoff=fixed(0.01))
SHORT = 0.1
"""A timeout, in seconds."""


class Canal(Domain[None], handlers="tests.runtime.canal"):
    pass


canal = Canal()
basin = canal.queue("basin", concurrency=50)
lock = canal.queue("lock", concurrency=2)
"""For handlers in processes, which are slow to start."""


class Passed(Event[Canal], ordered_by="key"):
    """The first of a key ends in its way; the second returns at once."""

    key: str
    by: str
    way: str
    n: int
    url: str


class Glimpsed(Event[Canal], ordered_by="key"):
    """The first of a key is not wanted, as only the worker can tell."""

    key: str
    n: int


class Hidden(Event[Canal], ordered_by="key"):
    """Its deliveries are over before they start."""

    key: str
    n: int


class Note(Job[Canal], queue=basin):
    key: str
    attempt: int


@canal.handles(Note)
async def note(job: Note, run: Run[Canal]) -> None:
    pass


@dataclass(frozen=True)
class End:
    """How the first delivery of a lane is expected to have ended."""

    state: str = "completed"
    failures: int = 0
    sent: tuple[int, ...] = (1,)
    logged: tuple[int, ...] = (1,)


AT_ONCE, NOTHING_SENT = End(), ()
SECOND_TRY = End(failures=1, sent=(2,), logged=(1, 2))
AGAIN_FREE = End(sent=(1,), logged=(1, 1))
DEAD = End("dead", 2, NOTHING_SENT, (1, 2))

ASYNC = {
    "return": AT_ONCE,
    "raise": SECOND_TRY,
    "raise-for-good": DEAD,
    "skip": End("skipped", sent=NOTHING_SENT),
    "snooze": AGAIN_FREE,
    "retry-after": SECOND_TRY,
    "dead-letter": End("dead", 1, NOTHING_SENT),
    "cancelled": End("cancelled", 1, NOTHING_SENT),
    "transaction": AT_ONCE,
    "transaction-fails": SECOND_TRY,
    "complete": AT_ONCE,
    "complete-tx": AT_ONCE,
    "complete-tx-and-raise": AT_ONCE,
    "complete-tx-rolled-back": SECOND_TRY,
    "complete-tx-rolled-back-for-good": DEAD,
    "complete-tx-rolled-back-and-raise": SECOND_TRY,
    "complete-tx-rolled-back-and-skip": End("skipped", sent=NOTHING_SENT),
    "complete-tx-rolled-back-and-snooze": AGAIN_FREE,
    "complete-tx-rolled-back-and-dead-letter": End("dead", 1, NOTHING_SENT),
}
HURRIED = {"timeout": DEAD, "swallows-its-cancellation": DEAD}
BLOCKING = {
    way: ASYNC[way]
    for way in (
        "return", "raise", "skip", "dead-letter", "transaction", "transaction-fails", "complete", "complete-tx",
        "complete-tx-rolled-back", "complete-tx-rolled-back-and-skip",
    )
}  # fmt: skip
PROCESS = {
    way: ASYNC[way] for way in ("return", "skip", "transaction", "complete-tx", "complete-tx-rolled-back-and-skip")
}
DYING = {"die": SECOND_TRY, "commit-and-die": AT_ONCE}
TABLE: dict[str, dict[str, End]] = {
    "async": ASYNC,
    "hurried": HURRIED,
    "thread": BLOCKING,
    "hurried-thread": {"timeout": DEAD},
    "process": PROCESS | DYING,
    "hurried-process": {"timeout": End("dead", 1, NOTHING_SENT)},
}


class Shared:
    """What the handlers in this process share with the test."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.thread_gate = threading.Event()
        self.second: set[tuple[str, str]] = set()
        self.begun: list[str] = []
        self.left: list[Any] = []


shared = Shared()


def begin(event: Passed, run: Run[Canal]) -> bool:
    """Log and send; whether the delivery is to end in its way."""
    if event.n == 1:
        run.log.info("%s", run.attempt)
        run.enqueue(Note(key=event.key, attempt=run.attempt))
    return event.n == 1


async def behave(event: Passed, run: Run[Canal]) -> None:  # noqa: PLR0912 - one branch for each way to end
    first = run.attempt == 1
    match event.way:
        case "raise" if first:
            raise ValueError("the first time")
        case "raise-for-good":
            raise ValueError("each time")
        case "skip":
            raise Skip("nothing to do")
        case "snooze" if (event.way, "snoozed") not in shared.second:
            shared.second.add((event.way, "snoozed"))
            raise Snooze(0.01)
        case "retry-after" if first:
            raise RetryAfter(0.01, "later")
        case "dead-letter":
            raise DeadLetter("never")
        case "cancelled":
            await shared.cancelled.wait()
            raise ValueError("stopped")
        case "timeout":
            await asyncio.sleep(60)
        case "swallows-its-cancellation":
            while not shared.gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await shared.gate.wait()
        case "transaction" | "transaction-fails":
            async with run.transaction():
                if first and event.way != "transaction":
                    raise ValueError("in the transaction")
        case "complete":
            await run.complete()
        case "complete-tx" | "complete-tx-and-raise":
            await complete(event.url, run, commit=True)
            if event.way != "complete-tx":
                raise ValueError("after the completion")
        case "complete-tx-rolled-back":
            await complete(event.url, run, commit=not first)
        case "complete-tx-rolled-back-for-good":
            await complete(event.url, run, commit=False)
        case "complete-tx-rolled-back-and-raise" if first:
            await complete(event.url, run, commit=False)
            raise ValueError("after the rollback")
        case "complete-tx-rolled-back-and-skip":
            await complete(event.url, run, commit=False)
            raise Skip("nothing to do")
        case "complete-tx-rolled-back-and-snooze" if (event.way, "snoozed") not in shared.second:
            shared.second.add((event.way, "snoozed"))
            await complete(event.url, run, commit=False)
            raise Snooze(0.01)
        case "complete-tx-rolled-back-and-dead-letter":
            await complete(event.url, run, commit=False)
            raise DeadLetter("never")
        case _:
            pass


async def complete(url: str, run: Run[Canal], *, commit: bool) -> None:
    """Complete in a transaction of the application's own."""
    if url.startswith("sqlite"):
        async with aiosqlite.connect(url.removeprefix("sqlite:///"), timeout=30) as sqlite:
            await sqlite.execute("BEGIN IMMEDIATE")
            await run.complete(tx=sqlite)
            await (sqlite.commit() if commit else sqlite.rollback())
        return
    async with await psycopg.AsyncConnection.connect(url) as postgres:
        await postgres.execute("SELECT 1")
        await run.complete(tx=postgres)
        await (postgres.commit() if commit else postgres.rollback())


def behave_blocking(event: Passed, run: Run[Canal]) -> None:
    first = run.attempt == 1
    match event.way:
        case "raise" if first:
            raise ValueError("the first time")
        case "skip":
            raise Skip("nothing to do")
        case "dead-letter":
            raise DeadLetter("never")
        case "transaction" | "transaction-fails":
            with run.sync.transaction():
                if first and event.way != "transaction":
                    raise ValueError("in the transaction")
        case "complete":
            run.sync.complete()
        case "complete-tx":
            complete_blocking(event.url, run, commit=True)
        case "complete-tx-rolled-back":
            complete_blocking(event.url, run, commit=not first)
        case "complete-tx-rolled-back-and-skip":
            complete_blocking(event.url, run, commit=False)
            raise Skip("nothing to do")
        case "die" if first:
            os._exit(3)
        case "commit-and-die":
            run.sync.complete()
            os._exit(3)
        case _:
            pass


def complete_blocking(url: str, run: Run[Canal], *, commit: bool) -> None:
    sqlite = url.startswith("sqlite")
    connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) if sqlite else psycopg.connect(url)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE" if sqlite else "SELECT 1")
        run.sync.complete(tx=connection)
        connection.commit() if commit else connection.rollback()


def subscribed(by: str, **options: Any) -> Any:
    queue = lock if "mode" in options else basin
    options = {"queue": queue, "retry": AGAIN, **options}
    return canal.on(Passed, name=by, where={"by": by}, ordered_by="key", on_dead="pass", **options)


@subscribed("async")
async def by_async(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        await behave(event, run)


@subscribed("hurried", timeout=SHORT)
async def by_hurried(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        await behave(event, run)


@subscribed("thread")
def by_thread(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        behave_blocking(event, run)


@subscribed("hurried-thread", timeout=SHORT)
def by_hurried_thread(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        shared.thread_gate.wait()


@subscribed("process", mode="process")
def by_process(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        behave_blocking(event, run)


@subscribed("hurried-process", timeout=SHORT, mode="process", retry=Retry(attempts=1))
def by_hurried_process(event: Passed, run: Run[Canal]) -> None:
    if begin(event, run):
        time.sleep(60)


@canal.on(Glimpsed, name="picky", where=lambda event: event.n == 2, queue=basin, ordered_by="key")
async def by_picky(event: Glimpsed, run: Run[Canal]) -> None:
    assert event.n == 2


@subscribed("held")
async def by_held(event: Passed, run: Run[Canal]) -> None:
    """Completes in a transaction that the test ends, or runs until it is stopped, the first time."""
    if event.n == 1 and run.attempt == 1 and event.key not in shared.begun:
        shared.begun.append(event.key)
        run.enqueue(Note(key=event.key, attempt=1))
        if event.way == "complete-tx":
            await asyncio.to_thread(leave_open, event.url, run)
        else:
            await shared.gate.wait()


@canal.on(Hidden, name="fleeting", queue=basin, expires=1e-6, ordered_by="key")
async def by_fleeting(event: Hidden, run: Run[Canal]) -> None:
    raise AssertionError("it has expired")


def leave_open(url: str, run: Run[Canal]) -> None:
    sqlite = url.startswith("sqlite")
    connection: Any = (
        sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, check_same_thread=False)
        if sqlite
        else psycopg.connect(url)
    )
    connection.execute("BEGIN IMMEDIATE" if sqlite else "SELECT 1")
    run.sync.complete(tx=connection)
    shared.left.append(connection)
