"""Everything at once, for minutes: workers are killed, stopped and started while work of every shape comes in.

The seed is printed; `FAULTS_SEED=… FAULTS_SECONDS=…` run it again, as far as real processes let themselves be repeated.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

from tests.faults.application import (
    Crash,
    CrashInProcess,
    Deposit,
    DepositByHand,
    DepositInThread,
    Fail,
    HoldInProcess,
    Note,
    NoteInThread,
    Parent,
)
from tests.faults.harness import FINAL, Site, WorkerProcess
from tests.servers import PostgresServer

pytestmark = [pytest.mark.fault, pytest.mark.soak]

SECONDS = float(os.environ.get("FAULTS_SECONDS", "120"))
ROLES = ["claim", "complete", "heartbeat", "listen", "leader", "handler", "client"]


class Storm:
    """Breaks things at random."""

    def __init__(self, site: Site, chance: random.Random, server: PostgresServer | None) -> None:
        self.site = site
        self.chance = chance
        self.server = server
        self.number = 0
        self.done: Counter[str] = Counter()

    def alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.site.workers if worker.process.poll() is None]

    def send(self) -> None:
        for _ in range(self.chance.randrange(1, 12)):
            self.number += 10
            n = self.number
            job = self.chance.choice([
                Note(number=n), NoteInThread(number=n), Parent(number=n, children=self.chance.randrange(4)),
                Deposit(number=n), DepositInThread(number=n), DepositByHand(number=n),
                DepositByHand(number=n, rollback=True), DepositByHand(number=n, swallow=True), Fail(number=n, times=2),
                HoldInProcess(number=n, gate=""),
            ])  # fmt: skip
            self.site.send_surely(job, attempts=1000, delay=self.chance.choice([0, 0, 0, 0.3]))
        if self.chance.random() < 0.02:
            self.site.send_surely(CrashInProcess(number=1, how="abort"), attempts=2)
        if self.chance.random() < 0.005:
            self.site.send_surely(Crash(number=1, how="kill"), attempts=1)

    def strike(self) -> None:
        worker = self.chance.choice(self.alive())
        match self.chance.choices(["nothing", "kill", "stop", "freeze", "session", "bury"], [20, 4, 4, 3, 6, 2])[0]:
            case "kill":
                worker.kill()
                self.done["killed"] += 1
            case "stop":
                worker.signal(signal.SIGTERM)
                self.done["stopped"] += 1
            case "freeze":
                worker.signal(signal.SIGSTOP)
                threading.Timer(self.chance.random() * 4, worker.thaw).start()  # it may stand with the write lock
                self.done["frozen"] += 1
            case "session" if self.server is not None:
                self.server.terminate(application_name=f"remit:{self.chance.choice(ROLES)}")
                self.done["terminated"] += 1
            case "bury":
                self.site.database.execute("DELETE FROM remit.worker")
                self.done["buried"] += 1

    def mend(self, workers: int) -> None:
        while len(self.alive()) < workers:
            self.site.worker(lease=1.5, grace=1.0)


def test_soak_everything_at_once(site: Site, request: pytest.FixtureRequest) -> None:
    seed = int(os.environ.get("FAULTS_SEED", random.randrange(1_000_000)))
    print("FAULTS_SEED", seed)
    server = None if site.database.is_sqlite else request.getfixturevalue("postgres_server")
    storm = Storm(site, random.Random(seed), server)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        storm.mend(workers=3)
        storm.send()
        storm.strike()
        time.sleep(storm.chance.random() * 0.1)
    deadline = time.monotonic() + 120
    while any(row.state not in FINAL for row in site.database.rows().values()):
        storm.mend(workers=3)
        time.sleep(0.2)
        states = Counter((row.name, row.state) for row in site.database.rows().values() if row.state not in FINAL)
        assert time.monotonic() < deadline, f"not ended: {states}"
    print(storm.done, Counter(row.state for row in site.database.rows().values()))
    rows = site.check()
    dead = {row.name for row in rows.values() if row.state == "dead"}
    assert dead <= {"yard.crash", "yard.crash-in-process"}, "only what kills is dead"
