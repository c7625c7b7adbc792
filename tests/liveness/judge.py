"""Judges a load: which job waited too long while its queue had a free slot for all that time.

A wait begins when the job is ready as its sender saw it, and ends when its handler starts. What the machine stood
still meanwhile does not count: `Pulse` measures it with a thread and writes of its own.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

BOUND = 1.0
"""Seconds for which a ready job may wait beside a free slot, if the machine does not stand still."""
INTERVAL = 0.02


@dataclass(frozen=True)
class Span:
    """A stretch of time."""

    start: float
    end: float

    def common(self, other: Span) -> float:
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True)
class Wait(Span):
    """One attempt at a message, from ready to started. `claimed` is when a worker took it, as far as it is known."""

    number: int
    attempt: int
    queue: str
    worker: str | None
    """Who ran it; None where nobody did."""
    claimed: float


@dataclass
class Fleet:
    """What is known about the workers of a load, and what they ran."""

    slots: Mapping[str, int]
    """By queue, of each worker."""
    up: dict[str, Span] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Span]] = field(default_factory=dict)
    """By worker and queue."""
    paused: dict[str, list[Span]] = field(default_factory=dict)

    def is_free(self, queue: str, moment: float, worker: str | None) -> bool:
        """Whether a slot was free: of this worker, or of any."""
        if any(span.start <= moment < span.end for span in self.paused.get(queue, ())):
            return False
        return any(
            sum(span.start <= moment < span.end for span in self.runs.get((name, queue), ())) < self.slots[queue]
            for name, life in self.up.items()
            if life.start <= moment < life.end and worker in (None, name)
        )

    def free_beside(self, wait: Wait) -> Iterator[Span]:
        """The stretches of a wait in which there was a free slot for it, each as long as possible."""
        since: float | None = None
        moments = self._changes(wait)
        for moment in moments[:-1]:
            claimed_by = wait.worker if moment >= wait.claimed else None
            if self.is_free(wait.queue, moment, claimed_by):
                since = moment if since is None else since
            elif since is not None:
                yield Span(since, moment)
                since = None
        if since is not None:
            yield Span(since, wait.end)

    def _changes(self, wait: Wait) -> list[float]:
        """When anything may have changed within a wait, its begin and end included."""
        spans = [span for (_, queue), runs in self.runs.items() if queue == wait.queue for span in runs]
        spans += [*self.up.values(), *self.paused.get(wait.queue, ())]
        inside = {moment for span in spans for moment in (span.start, span.end) if wait.start < moment < wait.end}
        if wait.start < wait.claimed < wait.end:
            inside.add(wait.claimed)
        return [wait.start, *sorted(inside), wait.end]


class Pulse:
    """Sleeps and writes, on the store's disk or server but not to the store, and notes how much longer it took."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._beats: list[Span] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _beat(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS pulse (n integer)")
            connection.execute("INSERT INTO pulse VALUES (0)")
            while not self._ends.is_set():
                start = time.time()
                time.sleep(INTERVAL)
                connection.execute("UPDATE pulse SET n = n + 1")
                self._beats.append(Span(start, time.time()))

    def _connect(self) -> Any:
        if not self._url.startswith("sqlite"):
            return psycopg.connect(self._url, autocommit=True)
        connection = sqlite3.connect(self._folder / "pulse.db", timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        return connection

    def stalled(self, stretch: Span) -> float:
        """For how many seconds of this stretch the machine stood still."""
        lengths = [beat.end - beat.start for beat in self._beats]
        usual = 2 * median(lengths) if lengths else 0.0
        late = (Span(beat.start + usual, beat.end) for beat in self._beats if beat.end - beat.start > usual)
        return sum(span.common(stretch) for span in late)


def judge(waits: Iterable[Wait], fleet: Fleet, pulse: Pulse) -> list[str]:
    """What was wrong, in words."""
    return [
        f"{'nobody ran' if wait.worker is None else 'late:'} number {wait.number}, attempt {wait.attempt}, of "
        f"{wait.queue!r}: {stretch.end - stretch.start:.3f} s beside a free slot; the bound is {BOUND} s, and the "
        f"machine stood still for {pulse.stalled(stretch):.3f} s of it"
        for wait in waits
        if wait.end - wait.start > BOUND
        for stretch in fleet.free_beside(wait)
        if stretch.end - stretch.start > BOUND + pulse.stalled(stretch)
    ]
