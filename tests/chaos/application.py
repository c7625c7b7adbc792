"""The application of the storms: the mill has jobs of every shape and publishes, the town subscribes.

A job carries its plan: what each of its attempts does. Handlers append to the ledger, which stands outside the system,
so that the oracle can compare what ran with what the store says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any

from remit import Cancelled, DeadLetter, Domain, Event, Job, JobDied, Keep, Retry, RetryAfter, Run, Skip, Snooze, fixed
from tests.faults.application import connect, effect, folder
from tests.faults.ledger import Ledger

FOREVER = Keep(age=86_400.0, count=10_000_000)
PATIENT = Retry(attempts=1000, backoff=fixed(0.01))


class Mill(
    Domain[None], handlers="tests.chaos.application", retry=Retry(attempts=3, backoff=fixed(0.02)), keep=FOREVER
):
    """Jobs of every shape; publishes."""


class Town(Domain[None], handlers="tests.chaos.application", retry=PATIENT, keep=FOREVER):
    """Subscribes."""


mill, town = Mill(), Town()
domains = [mill, town]
loop = mill.queue("loop", concurrency=10)
threads = mill.queue("threads", concurrency=4)
processes = mill.queue("processes", concurrency=1)
brief = mill.queue("brief", concurrency=5, keep=Keep(age=0.5, count=20))
"""Is pruned while the storm goes on."""
square = town.queue("square", concurrency=10)
halls = town.queue("halls", concurrency=3)


class Grind(Job[Mill], queue=loop, timeout=5):
    """Async."""

    number: int
    plan: tuple[str, ...] = ("return",)


class GrindInThread(Job[Mill], queue=threads, timeout=5):
    """Blocking."""

    number: int
    plan: tuple[str, ...] = ("return",)


class GrindInProcess(Job[Mill], queue=processes, timeout=10):
    """In a process of its own."""

    number: int
    plan: tuple[str, ...] = ("return",)


class Sweep(Job[Mill], queue=brief):
    """What a run sends: its causation is the job that sent it. Soon pruned."""

    number: int


class Milled(Event[Mill]):
    """Published by runs and by producers; unordered."""

    number: int
    kind: str = "plain"


class Weighed(Event[Mill], ordered_by="sack"):
    """Ordered."""

    number: int
    sack: str


def note(what: str, job: str, **more: Any) -> None:
    Ledger(folder()).write(what, job, pid=os.getpid(), **more)


def step(job: Any, run: Run[Any]) -> str:
    """What this attempt does; the last step of a plan goes for all that follow."""
    return job.plan[min(run.attempt, len(job.plan)) - 1]


def send(job: Any, run: Run[Any]) -> None:
    """Three messages, which are sent if, and only if, the run succeeds."""
    run.enqueue(Sweep(number=job.number))
    run.publish(Milled(number=job.number, kind="sent"))
    run.publish(Weighed(number=job.number, sack=f"sack-{job.number % 3}"))


def judge(how: str, run: Run[Any]) -> None:
    """The ends of a run that are the same in each mode."""
    match how:
        case "raise":
            raise ValueError("as planned")
        case "skip":
            raise Skip("as planned")
        case "retry":
            raise RetryAfter(0.05)
        case "dead":
            raise DeadLetter("as planned")
        case "snooze":
            mark = folder() / "gates" / f"snoozed-{run.job_id}"
            if not mark.exists():
                mark.touch()
                raise Snooze(0.05)
        case "stop":
            raise Cancelled("as planned")
        case "exit":
            os._exit(3)
        case _:
            pass


@contextlib.contextmanager
def told(job: Any, run: Run[Any]) -> Any:
    note("started", run.job_id, attempt=run.attempt, number=job.number)
    yield
    note("ended", run.job_id, attempt=run.attempt)


@mill.handles(Grind)
async def grind(job: Grind, run: Run[Mill]) -> str | None:
    with told(job, run):
        match how := step(job, run):
            case "effect":
                async with run.transaction() as tx:
                    send(job, run)
                    await tx.execute(effect(), [run.job_id, job.number, run.attempt])
                return None
            case "send":
                send(job, run)
            case "linger":
                for _ in range(10):
                    run.check()
                    await asyncio.sleep(0.02)
            case _:
                await asyncio.sleep(0)
                judge(how, run)
    return how


@mill.handles(GrindInThread)
def grind_in_thread(job: GrindInThread, run: Run[Mill]) -> str | None:
    with told(job, run):
        match how := step(job, run):
            case "effect":
                with run.sync.transaction() as tx:
                    send(job, run)
                    tx.execute(effect(), [run.job_id, job.number, run.attempt])
                return None
            case "by hand" | "roll back":
                send(job, run)
                with contextlib.closing(connect()) as connection:
                    connection.execute(effect(), [run.job_id, job.number, run.attempt])
                    run.sync.complete(tx=connection)
                    connection.rollback() if how == "roll back" else connection.commit()
                return None
            case "send":
                send(job, run)
            case "linger":
                for _ in range(10):
                    run.check()
                    time.sleep(0.02)
            case _:
                judge(how, run)
    return how


@mill.handles(GrindInProcess, mode="process")
def grind_in_process(job: GrindInProcess, run: Run[Mill]) -> str | None:
    with told(job, run):
        how = step(job, run)
        if how == "send":
            send(job, run)
        else:
            judge(how, run)
    return how


@mill.handles(Sweep)
async def sweep(job: Sweep, run: Run[Mill]) -> None:
    with told(job, run):
        pass


# --- subscriptions


def arrive(event: Any, run: Run[Any], by: str) -> None:
    assert run.event is not None
    note("delivered", run.event.id, by=by, number=event.number, attempt=run.attempt, run=run.job_id)


@town.on(Milled, name="crier", queue=square, inline="appends to the ledger")
async def crier(event: Milled, run: Run[Town]) -> None:
    arrive(event, run, "crier")
    if event.number % 5 == 0 and run.attempt == 1:
        raise ValueError("at times")


@town.on(Milled, name="picky", queue=square, where={"kind": "sent"}, inline="appends to the ledger")
def picky(event: Milled, run: Run[Town]) -> None:
    arrive(event, run, "picky")


@town.on(Milled, name="doomed", queue=square, inline="appends to the ledger")
async def doomed(event: Milled, run: Run[Town]) -> None:
    arrive(event, run, "doomed")


@town.on(Weighed, name="book", queue=halls, ordered_by="sack", inline="one row")
async def book(event: Weighed, run: Run[Town]) -> None:
    assert run.event is not None
    arrive(event, run, "book")
    if event.number % 7 == 0 and run.attempt == 1:
        raise ValueError("at times")
    async with run.transaction() as tx:
        await tx.execute(effect(), [run.job_id, event.number, run.attempt])


@mill.exhausted(Grind, GrindInThread, GrindInProcess, name="mourner")
async def mourn(died: JobDied, run: Run[Mill]) -> None:
    note("mourned", died.job, reason=died.reason)
