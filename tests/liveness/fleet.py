"""What the loads run: a domain with a queue for each kind of handler, and workers that write down what they do.

Every process of a load appends lines to one file, the trace: a run starts or ends, a worker is up or leaves. Children
import this module, and no test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Self

from remit import Domain, Event, Job, Remit, Retry, Run, fixed
from remit.db import fallbacks

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
BACKOFF = 0.05
"""Seconds between two attempts."""


def lose_no_signal() -> None:
    """Let a lost signal of the wakeup, or of a prefetch, cost a minute. What promoter and sequencer look for stays."""
    fallbacks.WAKEUP = fallbacks.SATURATED = 60.0


class Fleet(Domain[None], handlers="tests.liveness.fleet", retry=Retry(attempts=3, backoff=fixed(BACKOFF))):
    pass


fleet = Fleet()
SLOTS = {"one": 1, "few": 3, "many": 12, "threads": 4, "processes": 2, "lanes": 4}
QUEUES = {name: fleet.queue(name, concurrency=slots) for name, slots in SLOTS.items()}


class Task(Job[Fleet], abstract=True):
    """Takes `takes` seconds, and fails in its first `fails` attempts."""

    number: int
    takes: float
    fails: int
    trace: str


class One(Task, queue=QUEUES["one"]):
    pass


class Few(Task, queue=QUEUES["few"]):
    pass


class Many(Task, queue=QUEUES["many"]):
    pass


class InThread(Task, queue=QUEUES["threads"]):
    pass


class InProcess(Task, queue=QUEUES["processes"]):
    pass


class Seen(Event[Fleet]):
    """Is delivered through the queue `few`."""

    number: int
    takes: float
    fails: int
    trace: str


class Turned(Event[Fleet], ordered_by="key"):
    key: str
    number: int
    takes: float
    fails: int
    trace: str


Message = Task | Seen | Turned


@cache
def _trace(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(trace: str, *words: object) -> None:
    os.write(_trace(trace), (" ".join(map(str, (*words, repr(time.time())))) + "\n").encode())


def begin(message: Message, run: Run[Fleet], queue: str) -> None:
    note(message.trace, "start", run.worker, queue, message.number, run.attempt, run.job_id)  # type: ignore[attr-defined]


def end(message: Message, run: Run[Fleet], queue: str) -> None:
    note(message.trace, "end", run.worker, queue, message.number, run.attempt, run.job_id)  # type: ignore[attr-defined]
    if run.attempt <= message.fails:
        raise ValueError("as planned")


async def take(message: Message, run: Run[Fleet], queue: str) -> None:
    begin(message, run, queue)
    await asyncio.sleep(message.takes)
    end(message, run, queue)


def take_blocking(message: Message, run: Run[Fleet], queue: str) -> None:
    begin(message, run, queue)
    time.sleep(message.takes)
    end(message, run, queue)


@fleet.handles(One)
async def one(job: One, run: Run[Fleet]) -> None:
    await take(job, run, "one")


@fleet.handles(Few)
async def few(job: Few, run: Run[Fleet]) -> None:
    await take(job, run, "few")


@fleet.handles(Many)
async def many(job: Many, run: Run[Fleet]) -> None:
    await take(job, run, "many")


@fleet.handles(InThread)
def in_thread(job: InThread, run: Run[Fleet]) -> None:
    take_blocking(job, run, "threads")


@fleet.handles(InProcess, mode="process")
def in_process(job: InProcess, run: Run[Fleet]) -> None:
    take_blocking(job, run, "processes")


@fleet.on(Seen, name="see", queue=QUEUES["few"])
async def see(event: Seen, run: Run[Fleet]) -> None:
    await take(event, run, "few")


@fleet.on(Turned, name="turn", queue=QUEUES["lanes"], ordered_by="key")
async def turn(event: Turned, run: Run[Fleet]) -> None:
    await take(event, run, "lanes")


class OwnWorker:
    """A worker in this process, of an application that is open here."""

    def __init__(self, app: Remit, queues: Collection[str], trace: str) -> None:
        self._worker = app.worker(queues=[f"fleet.{name}" for name in queues])
        self._trace = trace

    async def start(self) -> Self:
        await self._worker.start()
        note(self._trace, "up", self._worker.id)
        return self

    async def stop(self) -> None:
        note(self._trace, "leaves", self._worker.id)
        await self._worker.stop()


class WorkerProcess:
    """A worker in a process of its own: `python -m tests.liveness.fleet_main`."""

    def __init__(self, url: str, queues: Collection[str], trace: str) -> None:
        command = [sys.executable, "-m", "tests.liveness.fleet_main", url, trace, *queues]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        self._trace = Path(trace)

    async def start(self) -> Self:
        """Wait until it is up."""
        up = f"serves {self._process.pid} "
        async with asyncio.timeout(PATIENCE):
            while up not in self._trace.read_text():
                assert self._process.poll() is None, "the worker process has ended"
                await asyncio.sleep(0.01)
        return self

    async def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(self._process.wait, PATIENCE)
        finally:
            if self._process.poll() is None:
                self._process.kill()
        assert status == 0


async def serve(url: str, trace: str, queues: Collection[str]) -> None:
    """A worker until SIGTERM."""
    lose_no_signal()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Remit(url, domains=[fleet]) as app:
        worker = await OwnWorker(app, queues, trace).start()
        note(trace, "serves", os.getpid())
        await stop.wait()
        await worker.stop()
