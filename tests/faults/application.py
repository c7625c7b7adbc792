"""The application under fault: one domain, with jobs of every shape. It runs in real worker processes.

Handlers append to the ledger, which stands outside the system, and wait for gates: files that the test creates.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from remit import Domain, Job, Retry, Run, fixed
from tests.faults.ledger import Ledger


class Yard(Domain[None], handlers="tests.faults.application", retry=Retry(attempts=3, backoff=fixed(0.01))):
    """Where things are broken on purpose."""


yard = Yard()
quick = yard.queue("quick", concurrency=5)
holds = yard.queue("holds", concurrency=20)
threads = yard.queue("threads", concurrency=8)
processes = yard.queue("processes", concurrency=2)
risky = yard.queue("risky", concurrency=4)


class Note(Job[Yard], queue=quick):
    """Quick: a line in the ledger."""

    number: int


class NoteInThread(Job[Yard], queue=threads):
    """The same, blocking."""

    number: int
    since: str = "a field that older payloads lack"


class Hold(Job[Yard], queue=holds):
    """Async, until its gate opens."""

    number: int
    gate: str


class Pause(Job[Yard], queue=quick):
    """The same, in the queue of the quick ones."""

    number: int
    gate: str


class HoldInThread(Job[Yard], queue=threads):
    """Blocking, until its gate opens."""

    number: int
    gate: str


class HoldInProcess(Job[Yard], queue=processes):
    """CPU-bound, until its gate opens."""

    number: int
    gate: str


class Deaf(Job[Yard], queue=holds):
    """Async, and swallows its cancellation until its gate opens."""

    number: int
    gate: str


class Freeze(Job[Yard], queue=holds):
    """Blocks the event loop until its gate opens."""

    number: int
    gate: str


class Seize(Job[Yard], queue=holds):
    """Holds the GIL in C code for some seconds; no gate can open meanwhile."""

    number: int
    seconds: float


class Crash(Job[Yard], queue=risky):
    """Ends its process: by `kill`, `segfault` or `abort`."""

    number: int
    how: str


class CrashInProcess(Job[Yard], queue=processes):
    """Ends the process of its own that it runs in."""

    number: int
    how: str


class Neighbour(Job[Yard], queue=risky):
    """Async, until its gate opens: shares queue and worker with `Crash`."""

    number: int
    gate: str


class Fail(Job[Yard], queue=quick):
    """Raises in its first attempts."""

    number: int
    times: int


class Deposit(Job[Yard], queue=holds):
    """An effect in the database, in `run.transaction()`; inside, it waits for its gate if it has one."""

    number: int
    gate: str = ""


class DepositInThread(Job[Yard], queue=threads):
    """The same, blocking."""

    number: int
    gate: str = ""


class DepositByHand(Job[Yard], queue=threads):
    """An effect on a connection of the handler's own, which `run.complete(tx=…)` joins.

    It waits for its gates before it connects, and before it completes. With `swallow` it catches what the completion
    raises, and commits; with `rollback` it rolls back after the completion in its first attempt, and returns as if
    nothing had happened.
    """

    number: int
    before: str = ""
    gate: str = ""
    swallow: bool = False
    rollback: bool = False


class Parent(Job[Yard], queue=holds):
    """Sends children, `Note`s with the numbers that follow its own, if it succeeds; waits for its gate first."""

    number: int
    children: int
    gate: str = ""


class Versioned(Job[Yard], queue=quick, version=2):
    """Its payload has changed: an older release knows version 1 alone."""

    number: int
    currency: str


class Fork(Job[Yard], queue=holds):
    """Leaves a forked child behind, which lives until its gate opens, and holds what it has inherited."""

    number: int
    gate: str


class Breed(Job[Yard], queue=processes):
    """In a process of its own: starts a command and a fork, or holds the interpreter in C code, until it is killed."""

    number: int
    how: str


class Terminate(Job[Yard], queue=threads):
    """Blocking: forks with `multiprocessing`, and terminates at once what it forked, so many times."""

    number: int
    times: int


class ReturnTwice(Job[Yard], queue=holds):
    """Async: forks, and both processes come back from the handler; with `wait`, the copy to the event loop."""

    number: int
    wait: bool = False


class ReturnTwiceInThread(Job[Yard], queue=threads):
    """The same, blocking."""

    number: int


class Burden(Job[Yard], queue=quick, max_payload=2**28):
    """Anything as payload; what arrives is written beside the ledger."""

    number: int
    text: str = ""
    integers: tuple[int, ...] = ()


class Outburst(Job[Yard], queue=quick, retry=Retry(attempts=1)):
    """Raises with a text of so many characters."""

    number: int
    length: int


def folder() -> Path:
    """Where gates, ledger and files of this test lie."""
    return Path(os.environ["FAULTS_FOLDER"])


def opened(gate: str) -> bool:
    return not gate or (folder() / "gates" / gate).exists()


async def passing(gate: str) -> None:
    while not opened(gate):
        await asyncio.sleep(0.005)


def pass_blocking(gate: str) -> None:
    while not opened(gate):
        time.sleep(0.005)


@contextlib.contextmanager
def arriving(gate: str) -> Iterator[None]:
    pass_blocking(gate)
    yield


def write(what: str, job: Any, run: Run[Any]) -> None:
    Ledger(folder()).write(what, run.job_id, number=job.number, attempt=run.attempt, pid=os.getpid())


@contextlib.contextmanager
def told(job: Any, run: Run[Any]) -> Iterator[None]:
    """A line when the handler starts, and one when it ends in its own way."""
    write("started", job, run)
    yield
    write("ended", job, run)


def crash(how: str) -> None:
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
    raise AssertionError(f"nothing ends a process by {how!r}")


EFFECT = "INSERT INTO effect (job, number, attempt) VALUES ({0}, {0}, {0})"


def effect() -> str:
    return EFFECT.format("?" if os.environ["FAULTS_URL"].startswith("sqlite") else "%s")


@yard.handles(Note)
async def note(job: Note, run: Run[Yard]) -> int:
    with told(job, run):
        return job.number


@yard.handles(NoteInThread)
def note_in_thread(job: NoteInThread, run: Run[Yard]) -> None:
    with told(job, run):
        pass


@yard.handles(Hold)
async def hold(job: Hold, run: Run[Yard]) -> None:
    with told(job, run):
        await passing(job.gate)


@yard.handles(Pause)
async def pause(job: Pause, run: Run[Yard]) -> None:
    with told(job, run):
        await passing(job.gate)


@yard.handles(HoldInThread)
def hold_in_thread(job: HoldInThread, run: Run[Yard]) -> None:
    with told(job, run):
        pass_blocking(job.gate)


@yard.handles(HoldInProcess, mode="process")
def hold_in_process(job: HoldInProcess, run: Run[Yard]) -> None:
    with told(job, run):
        pass_blocking(job.gate)


@yard.handles(Deaf)
async def deaf(job: Deaf, run: Run[Yard]) -> None:
    with told(job, run):
        while not opened(job.gate):
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                write("cancelled", job, run)


@yard.handles(Freeze)
async def freeze(job: Freeze, run: Run[Yard]) -> None:
    with told(job, run):
        pass_blocking(job.gate)


@yard.handles(Seize)
async def seize(job: Seize, run: Run[Yard]) -> None:
    with told(job, run):
        if run.attempt == 1 and not opened(f"seized-{job.number}"):
            (folder() / "gates" / f"seized-{job.number}").touch()
            ctypes.PyDLL(None).usleep(ctypes.c_uint(int(job.seconds * 1_000_000)))


@yard.handles(Crash)
async def crash_worker(job: Crash, run: Run[Yard]) -> None:
    with told(job, run):
        crash(job.how)


@yard.handles(CrashInProcess, mode="process")
def crash_in_process(job: CrashInProcess, run: Run[Yard]) -> None:
    with told(job, run):
        crash(job.how)


@yard.handles(Neighbour)
async def neighbour(job: Neighbour, run: Run[Yard]) -> None:
    with told(job, run):
        await passing(job.gate)


@yard.handles(Fail)
async def fail(job: Fail, run: Run[Yard]) -> None:
    with told(job, run):
        if run.attempt <= job.times:
            write("failed", job, run)
            raise RuntimeError(f"attempt {run.attempt} fails")


@yard.handles(Deposit)
async def deposit(job: Deposit, run: Run[Yard]) -> None:
    with told(job, run):
        async with run.transaction() as tx:
            await tx.execute(effect(), [run.job_id, job.number, run.attempt])
            write("deposited", job, run)
            await passing(job.gate)


@yard.handles(DepositInThread)
def deposit_in_thread(job: DepositInThread, run: Run[Yard]) -> None:
    with told(job, run), run.sync.transaction() as tx:
        tx.execute(effect(), [run.job_id, job.number, run.attempt])
        write("deposited", job, run)
        pass_blocking(job.gate)


@yard.handles(DepositByHand)
def deposit_by_hand(job: DepositByHand, run: Run[Yard]) -> None:
    with told(job, run), arriving(job.before), contextlib.closing(connect()) as connection:
        connection.execute(effect(), [run.job_id, job.number, run.attempt])
        write("deposited", job, run)
        pass_blocking(job.gate)
        try:
            run.sync.complete(tx=connection)
        except Exception as error:
            write("refused", job, run)
            if not job.swallow:
                raise
            with contextlib.suppress(sqlite3.Error, psycopg.Error):
                connection.commit()
            write(f"swallowed {type(error).__name__}", job, run)
            return
        if job.rollback and run.attempt == 1:
            connection.rollback()
            write("rolled back", job, run)
        else:
            connection.commit()


def connect() -> Any:
    """A connection of the handler's own, with a transaction open."""
    url = os.environ["FAULTS_URL"]
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0], timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        return connection
    return psycopg.connect(url)


@yard.handles(Parent)
async def parent(job: Parent, run: Run[Yard]) -> None:
    with told(job, run):
        for number in range(job.number + 1, job.number + 1 + job.children):
            run.enqueue(Note(number=number))
        await passing(job.gate)


@yard.handles(Versioned)
async def versioned(job: Versioned, run: Run[Yard]) -> str:
    with told(job, run):
        return f"new, in {job.currency}"


@yard.handles(Fork)
async def fork(job: Fork, run: Run[Yard]) -> None:
    with told(job, run):
        if os.fork() == 0:
            write("forked", job, run)
            pass_blocking(job.gate)
            os._exit(0)
        await passing(job.gate)


@yard.handles(Breed, mode="process")
def breed(job: Breed, run: Run[Yard]) -> None:
    def note(pid: int) -> None:
        Ledger(folder()).write("bred", run.job_id, pid=pid)

    note(subprocess.Popen(["sleep", "600"]).pid)
    if (fork := os.fork()) == 0:
        time.sleep(600)
        os._exit(0)
    note(fork)
    note(os.getpid())
    if job.how == "seize":
        re.match(r"(a+)+$", "a" * 50 + "b")
    pass_blocking("never")


@yard.handles(Terminate)
def terminate(job: Terminate, run: Run[Yard]) -> list[int | None]:
    ends = []
    with told(job, run):
        for _ in range(job.times):
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            process.start()
            process.terminate()
            process.join(20)
            ends.append(process.exitcode)
            process.kill()
    return ends


@yard.handles(ReturnTwice)
async def return_twice(job: ReturnTwice, run: Run[Yard]) -> None:
    write("started", job, run)
    is_copy = os.fork() == 0
    write("forked" if is_copy else "ended", job, run)
    if is_copy and job.wait:
        await passing("never")


@yard.handles(ReturnTwiceInThread)
def return_twice_in_thread(job: ReturnTwiceInThread, run: Run[Yard]) -> None:
    write("started", job, run)
    write("forked" if os.fork() == 0 else "ended", job, run)


@yard.handles(Burden)
async def burden(job: Burden, run: Run[Yard]) -> dict[str, Any]:
    with told(job, run):
        arrived = folder() / f"burden-{job.number}"
        arrived.write_bytes(job.text.encode("utf-8", "surrogatepass") + repr(job.integers).encode())
        return {"characters": len(job.text), "integers": job.integers}


@yard.handles(Outburst)
async def outburst(job: Outburst, run: Run[Yard]) -> None:
    with told(job, run):
        raise RuntimeError("a\0b" + "x" * job.length)
