"""Ten publishers, five subscriptions, and workers that are killed all the while: one by an error now and then, one
ordered, one with a condition, one that writes its effect in `run.transaction()`, one that sends jobs.

`FAULTS_SEED=… FAULTS_EVENTS=…` run it again, as far as real processes let themselves be repeated.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.faults.fair import Fair, logs
from tests.faults.harness import WorkerProcess

pytestmark = pytest.mark.fault

PUBLISHERS, PROCESSES = 10, 2


def storm(fair: Fair, events: int, *, kills: int, between: float, workers: int, patience: float) -> None:
    """Publish with ten publishers, kill workers and publishers meanwhile, and judge what came of it."""
    seed = int(os.environ.get("FAULTS_SEED", random.randrange(1_000_000)))
    print("FAULTS_SEED", seed)
    chance, begun = random.Random(seed), time.monotonic()
    each = PUBLISHERS // PROCESSES
    publishing = {n: fair.publishers(n * each, each, events, name=f"publisher-{n}") for n in range(PROCESSES)}
    deadline = time.monotonic() + patience

    def alive() -> list[WorkerProcess]:
        return [worker for worker in fair.workers if worker.process.poll() is None]

    def published() -> bool:
        for n, process in list(publishing.items()):
            status = process.poll()
            assert status in (None, 0, -signal.SIGKILL), f"a publisher failed: {logs(fair.folder)}"
            if status == -signal.SIGKILL:
                publishing[n] = fair.publishers(n * each, each, events, name=f"publisher-{n}")
        return all(process.poll() == 0 for process in publishing.values())

    killed = 0
    while not published() or killed < kills or fair.left():
        assert time.monotonic() < deadline, f"not at the end: {fair.left()}\n{logs(fair.folder)}"
        while len(alive()) < workers:
            fair.worker(lease=3.0, grace=1.0)
        if killed < kills and (fair.left() or not published()):
            time.sleep(chance.random() * between)
            if chance.random() < 0.2 and not published():
                publishing[chance.randrange(PROCESSES)].kill()
            else:
                chance.choice(alive()).kill()
                killed += 1
        else:
            killed = kills  # all is done already
            time.sleep(0.05)
    print(f"{time.monotonic() - begun:.0f} s, {len(fair.workers)} workers,", dict(fair.check_sales()))
    fair.check_ended()


def test_ten_publishers_and_five_subscriptions_while_workers_are_killed(fair: Fair) -> None:
    storm(fair, 30, kills=2, between=1.0, workers=2, patience=100)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_ten_publishers_and_five_subscriptions(fair: Fair) -> None:
    storm(fair, int(os.environ.get("FAULTS_EVENTS", "10000")), kills=20, between=10.0, workers=3, patience=7000)
