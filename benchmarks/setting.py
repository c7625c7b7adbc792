"""One measurement: whose, where, and how much of it; and what all measures have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from benchmarks.contenders.contender import CHUNK, Side
from benchmarks.ledger import Ledger
from benchmarks.places import Places
from benchmarks.worker import WorkerProcess

S = TypeVar("S", bound=Side)
Figures: TypeAlias = dict[str, float]

GAP = (0.010, 0.030)
"""Seconds between the end of a job and the next one, while the system is idle."""
WARM_UP = 1_000_000_000
"""Numbers from here on are not counted."""
TURN, FIRST_OF_TURN = 20, 3
"""Samples in a turn, and jobs at its beginning that are not counted: they find a worker that has idled for longer."""
FIRST_JOB, LAST_JOB = 60.0, 180.0


@dataclass(frozen=True, slots=True)
class Setting(Generic[S]):
    """`contender` is whose it is."""

    contender: S
    places: Places
    folder: Path
    n: int | None = None
    samples: int = 200
    rate: float = 200.0
    seconds: float = 10.0
    old: int | None = None
    settling: float = 1.0
    """Seconds of peace between the warm-up and the measurement."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever holds it measures; where contenders take turns within a round, they share it."""

    @contextmanager
    def worker(self, ledger: Ledger) -> Iterator[WorkerProcess]:
        with WorkerProcess(self.contender, ledger, self.folder / "worker.log") as worker:
            yield worker

    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger")


def chunks(n: int, size: int = CHUNK) -> Sequence[range]:
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def latencies(ledger: Ledger, sent: Mapping[int, float]) -> Figures:
    """In milliseconds."""
    took = sorted((at - sent[number]) * 1000 for number, at in ledger.read() if number in sent)
    if len(took) != len(sent):
        raise AssertionError(f"{len(sent)} jobs, {len(took)} runs")
    return {"p50": _percentile(took, 0.50), "p99": _percentile(took, 0.99), "worst": took[-1], "n": len(took)}


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
