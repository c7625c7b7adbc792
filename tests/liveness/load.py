"""A random load below the capacity of one worker: what is sent when, made from a seed, and its evidence afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from random import Random
from typing import Any

from remit import Remit
from tests.liveness.fleet import BACKOFF, SLOTS, Few, InProcess, InThread, Many, Message, One, Seen, Turned, fleet
from tests.liveness.judge import Fleet, Span, Wait

JOBS = {"one": One, "few": Few, "many": Many, "threads": InThread, "processes": InProcess}
TAKES = (0.0, 0.001, 0.005, 0.03, 0.1)
"""Seconds that a handler takes."""
MOST_PER_SECOND = 200
"""Of all queues: what the two cores of a small machine send and run beside other tests."""


@dataclass(frozen=True)
class Sending:
    """Messages of one kind that are sent at once."""

    at: float
    queue: str
    messages: tuple[Message, ...]
    delay: float = 0.0


@dataclass(frozen=True)
class Pause:
    at: float
    queue: str
    seconds: float


@dataclass
class Load:
    """What is done, by a seed, and what was seen of it."""

    seed: int
    seconds: float
    trace: Path
    queues: tuple[str, ...] = ()
    rounds: list[list[Sending]] = field(default_factory=list)
    """Each begins when all of the one before has ended: a signal that is lost at an end is made up for by nothing."""
    pauses: list[Pause] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    """By number of a message: when its sender knew that it was committed, or when it was due."""
    paused: dict[str, list[Span]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._numbers = count()
        self.trace.touch()
        self.queues = tuple(self._random.sample(sorted(SLOTS), self._random.choice((1, 2, 3, len(SLOTS)))))
        planned = 0.0
        while planned < self.seconds:
            seconds = self._random.choice((0.1, 0.2, 0.3, 0.3, 1.0))
            self.rounds.append(self._round(seconds))
            planned += seconds
        if self._random.random() < 0.5:
            at = self._random.uniform(0.1, 0.6) * self.seconds
            self.pauses.append(Pause(at, self._random.choice(self.queues), self._random.uniform(0.05, 0.4)))

    def _round(self, seconds: float) -> list[Sending]:
        sendings = [sending for queue in self.queues for sending in self._stream(queue, seconds)]
        return sorted(sendings, key=lambda sending: sending.at)

    def _stream(self, queue: str, seconds: float) -> Iterator[Sending]:
        """Phases of a steady rate, of bursts and of silence."""
        at = 0.0
        while at < seconds:
            ends = min(seconds, at + self._random.uniform(0.1, 0.6))
            takes = self._random.choice(TAKES)
            share = self._random.choice((0.0, 0.2, 0.5, 0.8))
            burst = self._random.choice((1, 1, 1, 1, 5))
            rate = min(MOST_PER_SECOND / len(self.queues), share * SLOTS[queue] / max(takes, 0.001)) / burst
            while rate and (at := at + self._random.expovariate(rate)) < ends:
                yield self._sending(at, queue, burst, takes)
            at = ends

    def _sending(self, at: float, queue: str, burst: int, takes: float) -> Sending:
        fails = self._random.choice((0,) * 9 + (1,)) if queue != "processes" else 0
        common: dict[str, Any] = {"takes": takes, "fails": fails, "trace": str(self.trace)}
        numbers = [next(self._numbers) for _ in range(burst)]
        if queue == "lanes":
            keys = [f"key-{self._random.randrange(6)}" for _ in numbers]
            turns = zip(keys, numbers, strict=True)
            return Sending(at, queue, tuple(Turned(key=key, number=number, **common) for key, number in turns))
        if queue == "few" and self._random.random() < 0.3:
            return Sending(at, queue, tuple(Seen(number=number, **common) for number in numbers))
        delay = self._random.choice((0.0,) * 9 + (self._random.uniform(0.01, 0.5),))
        return Sending(at, queue, tuple(JOBS[queue](number=number, **common) for number in numbers), delay)

    @property
    def sendings(self) -> Iterator[Sending]:
        return chain.from_iterable(self.rounds)

    @property
    def messages(self) -> Iterator[Message]:
        return chain.from_iterable(sending.messages for sending in self.sendings)

    # --- what is done

    async def run(self, app: Remit, patience: float) -> None:
        """Send, pause and resume as planned; `patience` is how long a round may take to end."""
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for pause in self.pauses:
                group.create_task(self._pause(begin, pause, app))
            for sendings in self.rounds:
                await self._play(sendings)
                await self._ended(patience)

    async def _play(self, sendings: list[Sending]) -> None:
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for queue in self.queues:
                group.create_task(self._send(begin, [sending for sending in sendings if sending.queue == queue]))

    async def _send(self, begin: float, sendings: list[Sending]) -> None:
        for sending in sendings:
            await asyncio.sleep(begin + sending.at - time.monotonic())
            match sending.messages[0]:
                case Seen() | Turned():
                    await fleet.publish_many(sending.messages)  # type: ignore[arg-type]
                case _:
                    await fleet.enqueue_many(sending.messages, delay=sending.delay)  # type: ignore[arg-type]
            ready = time.time() + sending.delay
            self.sent |= {message.number: ready for message in sending.messages}

    async def _pause(self, begin: float, pause: Pause, app: Remit) -> None:
        await asyncio.sleep(begin + pause.at - time.monotonic())
        start = time.time()
        await app.queues.pause(f"fleet.{pause.queue}")
        await asyncio.sleep(pause.seconds)
        await app.queues.resume(f"fleet.{pause.queue}")
        self.paused.setdefault(pause.queue, []).append(Span(start, time.time()))

    async def _ended(self, patience: float) -> None:
        """Wait until all that was sent has ended, or for so long that what has not is late for sure."""
        deadline = time.monotonic() + patience
        expected = sum(1 + message.fails for message in self.messages if message.number in self.sent)
        while time.monotonic() < deadline:
            if sum(line.startswith("end ") for line in self.trace.read_text().splitlines()) >= expected:
                return
            await asyncio.sleep(0.02)

    # --- what was seen

    async def evidence(self, app: Remit) -> tuple[Fleet, list[Wait]]:
        """The workers and their runs, and how long each attempt had waited."""
        now = time.time()
        seen = _Trace(self.trace)
        claimed = await _claims(app)
        fleet = Fleet(SLOTS, paused=self.paused)
        fleet.up = {worker: Span(at, seen.left.get(worker, now)) for worker, at in seen.up.items()}
        for run in seen.runs.values():
            start = claimed.get(run.job, run.start) if run.queue == "processes" else run.start
            fleet.runs.setdefault((run.worker, run.queue), []).append(Span(start, run.end or now))
        return fleet, list(self._waits(seen, claimed, now))

    def _waits(self, seen: _Trace, claimed: dict[str, float], now: float) -> Iterator[Wait]:
        heads: dict[str, float] = {}
        for sending in self.sendings:
            for message in sending.messages:
                ready = self.sent[message.number]
                if isinstance(message, Turned):
                    ready = max(ready, heads.get(message.key, 0.0))
                for attempt in range(1, message.fails + 2):
                    run = seen.runs.get((message.number, attempt))
                    if run is None:
                        yield Wait(ready, now, message.number, attempt, sending.queue, None, now)
                        ready = now
                        break
                    # A child of a worker may have to be started before its handler.
                    start = min(claimed[run.job], run.start) if sending.queue == "processes" else run.start
                    taken = claimed[run.job] if attempt == message.fails + 1 else ready
                    yield Wait(ready, start, message.number, attempt, sending.queue, run.worker, taken)
                    ready = (run.end or now) + BACKOFF
                if isinstance(message, Turned):
                    heads[message.key] = ready - BACKOFF


@dataclass
class _Run:
    worker: str
    queue: str
    job: str
    start: float
    end: float | None = None


class _Trace:
    """The lines of all processes, sorted out."""

    def __init__(self, path: Path) -> None:
        self.up: dict[str, float] = {}
        self.left: dict[str, float] = {}
        self.runs: dict[tuple[int, int], _Run] = {}
        """By number of the message, and attempt."""
        for line in path.read_text().splitlines():
            what, worker, *more, time_ = line.split()
            match what, more:
                case "up", []:
                    self.up[worker] = float(time_)
                case "leaves", []:
                    self.left[worker] = float(time_)
                case "start", [queue, number, attempt, job]:
                    self.runs[int(number), int(attempt)] = _Run(worker, queue, job, float(time_))
                case "end", [_, number, attempt, _]:
                    self.runs[int(number), int(attempt)].end = float(time_)


async def _claims(app: Remit) -> dict[str, float]:
    """When each job was last claimed."""
    claimed: dict[str, float] = {}
    after: str | None = None
    while True:
        page = await app.jobs.list(limit=1000, after=after)
        claimed |= {job.id: job.claimed_at.timestamp() for job in page.jobs if job.claimed_at is not None}
        if (after := page.after) is None:
            return claimed
