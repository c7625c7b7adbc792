"""A storm: producers, an operator who uses every verb, and somebody who breaks workers, sessions and the server.

All choices come from one seed. Processes and threads do not let themselves be repeated exactly; the seed gives the same
storm, and most often the same outcome.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from remit import Event, Job
from remit.errors import InvalidTransition, JobNotFound, StoreError, TransactionError
from tests.chaos import audit
from tests.chaos.application import Grind, GrindInProcess, GrindInThread, Milled, Weighed, domains, mill
from tests.faults.harness import Site, WorkerProcess
from tests.servers import PostgresServer

LOOP = (
    ("return",), ("send",), ("effect",), ("raise", "effect"), ("raise",), ("skip",), ("retry", "send"), ("dead",),
    ("snooze",), ("stop",), ("linger",), ("raise", "snooze"),
)  # fmt: skip
THREADS = (("by hand",), ("effect",), ("roll back", "by hand"), ("roll back", "raise", "dead"), ("send",), ("linger",))
PROCESSES = (("return",), ("send",), ("raise", "send"), ("exit", "send"), ("skip",), ("dead",))
QUEUES = ("mill.loop", "mill.threads", "mill.processes", "mill.brief", "town.square", "town.halls")
ROLES = ("claim", "complete", "heartbeat", "listen", "leader", "handler", "client")
AWAY = (StoreError, TransactionError, psycopg.Error, sqlite3.Error)
"""What a caller may see while the server is away."""


class ChaosSite(Site):
    """One database with its audit, one ledger, the workers of the mill and the town."""

    domains = tuple(domains)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        audit.install(self.database)

    def worker(self, **options: Any) -> WorkerProcess:
        return super().worker(application="tests.chaos.application", **options)


class Storm:
    """Everything at once for some seconds, then calm until nothing is left to do.

    `pause` is the longest one of a producer, in seconds. `server` is one that may be restarted; `sessions` is one whose
    sessions may be ended.
    """

    def __init__(
        self,
        site: ChaosSite,
        seed: int,
        *,
        pause: float = 0.06,
        server: PostgresServer | None = None,
        sessions: PostgresServer | None = None,
    ) -> None:
        self.site = site
        self.seed = seed
        self.server = server
        self.sessions = sessions
        self.pause = pause
        self.done: Counter[str] = Counter()
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    def blow(self, seconds: float, *, workers: int = 2, patience: float = 60.0) -> None:
        """Run the storm, and wait until it has settled. Raises what a producer or the operator did not expect."""
        self._mend(workers)
        for worker in self._alive():
            worker.ready()
        parts = [Producer(self, f"producer-{number}") for number in range(2)]
        threads = [threading.Thread(target=self._guarded, args=[part.run]) for part in (*parts, Operator(self))]
        for thread in threads:
            thread.start()
        chance, end = random.Random(f"{self.seed} striker"), time.monotonic() + seconds
        while time.monotonic() < end and not self._failures:
            time.sleep(chance.random() * 0.8)
            self._strike(chance)
            self._mend(workers)
        self._over.set()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        self._calm(workers, patience)

    def is_over(self) -> bool:
        """Whether the storm is over."""
        return self._over.is_set()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._failures.append(error)

    def _alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.site.workers if worker.process.poll() is None]

    def _mend(self, workers: int) -> None:
        while len(self._alive()) < workers:
            self.site.worker(lease=1.5, grace=1.0)

    def _strike(self, chance: random.Random) -> None:
        working = [worker for worker in self._alive() if worker.said("ready")]
        if not working:
            return
        worker = chance.choice(working)
        how = chance.choices(
            ["nothing", "kill", "stop", "freeze", "session", "bury", "restart"], [8, 4, 4, 3, 4, 1, 1]
        )[0]
        match how:
            case "kill":
                worker.kill()
            case "stop":
                worker.signal(signal.SIGTERM)
            case "freeze":
                worker.signal(signal.SIGSTOP)
                threading.Timer(chance.random() * 2.5, worker.thaw).start()  # it may stand with the write lock
            case "session" if self.sessions is not None:
                self.sessions.terminate(application_name=f"remit:{chance.choice(ROLES)}")
            case "bury":
                with contextlib.suppress(*AWAY):
                    self.site.database.execute("DELETE FROM remit.worker")
            case "restart" if self.server is not None:
                self.server.restart()
            case _:
                return
        self.done[how] += 1

    def _calm(self, workers: int, patience: float) -> None:
        """Until nothing is left to do: no event to dispatch, no turn to come, no job that has not ended."""
        for queue in QUEUES:
            self.site.app.sync.queues.resume(queue)
        deadline = time.monotonic() + patience
        while left := self._left():
            assert time.monotonic() < deadline, f"not ended: {left}"
            self._mend(workers)
            time.sleep(0.05)
        for worker in self._alive():
            worker.signal(signal.SIGTERM)
        for worker in self._alive():
            worker.wait()

    def _left(self) -> dict[str, int]:
        counts = self.site.database.execute(
            "SELECT 'event', count(*) FROM remit.event WHERE state = 'pending'"
            " UNION ALL SELECT 'turn', count(*) FROM remit.turn WHERE NOT released"
            " UNION ALL SELECT name || ' ' || state, count(*) FROM remit.job WHERE finished_at IS NULL GROUP BY 1"
        )
        return {what: count for what, count in counts if count}


class Producer:
    """Sends jobs and publishes events: alone, many at once, and in transactions of its own, of which some roll back."""

    def __init__(self, storm: Storm, name: str) -> None:
        self.storm, self.ledger = storm, storm.site.ledger
        self.chance = random.Random(f"{storm.seed} {name}")
        self.number = int(name[-1]) * 1_000_000
        self.pause = storm.pause

    def run(self) -> None:
        for plan in (("effect",), ("send",), ("raise",), ("dead",), ("skip",)) * 3:  # whatever the dice say
            self.alone(Grind(number=self.next(), plan=plan))
        self.alone(GrindInThread(number=self.next(), plan=("by hand",)))
        self.in_a_transaction(rolls_back=True)
        while not self.storm.is_over():
            self.chance.choice([self.alone, self.alone, self.many, self.in_a_transaction, self.publish])()
            time.sleep(self.chance.random() * self.pause)

    def next(self) -> int:
        self.number += 1
        return self.number

    def id(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def job(self) -> Grind | GrindInThread | GrindInProcess:
        number, mode = self.next(), self.chance.choices([Grind, GrindInThread, GrindInProcess], [10, 5, 1])[0]
        plans = {Grind: LOOP, GrindInThread: THREADS, GrindInProcess: PROCESSES}[mode]
        if mode is not GrindInProcess and self.chance.random() < 0.003:
            plans = (("exit", "exit", "send"),)  # ends its worker, and makes suspects of the others there
        return mode(number=number, plan=self.chance.choice(plans))

    def event(self) -> Event[Any]:
        number = self.next()
        if self.chance.random() < 0.5:
            return Weighed(number=number, sack=f"sack-{number % 3}")
        return Milled(number=number)

    def options(self) -> dict[str, Any]:
        return {
            "delay": self.chance.choice([0, 0, 0, 0.3]),
            "priority": self.chance.choice([0, 0, 5]),
            **({"expires": 0.4} if self.chance.random() < 0.05 else {}),
        }

    def intend(self, id: str, what: Job[Any] | Event[Any], *, with_business: bool = False) -> None:
        self.ledger.write("intend", id, kind=type(what).__name__, with_business=with_business)

    def alone(self, job: Job[Any] | None = None) -> None:
        id, job = self.id(), job or self.job()
        self.intend(id, job)
        with self.outcome([id]):
            mill.sync.enqueue(job, id=id, **self.options())

    def many(self) -> None:
        """Their ids are remit's: before they are sent, only their numbers are known."""
        jobs = [self.job() for _ in range(self.chance.randrange(1, 6))]
        for job in jobs:
            self.ledger.write("numbered", str(job.number))
        with self.outcome([]):
            for ref in mill.sync.enqueue_many(jobs):
                self.ledger.write("sent", ref.id)

    def publish(self) -> None:
        id, event = self.id(), self.event()
        self.intend(id, event)
        with self.outcome([id]):
            mill.sync.publish(event, id=id)

    def in_a_transaction(self, *, rolls_back: bool | None = None) -> None:
        """Some messages together with rows of the application's own: all of it is there, or nothing."""
        rolls_back = self.chance.random() < 0.3 if rolls_back is None else rolls_back
        messages = {self.id(): self.chance.choice([self.job, self.event])() for _ in range(self.chance.randrange(1, 4))}
        for id, message in messages.items():
            self.intend(id, message, with_business=True)
        database = self.storm.site.database
        with self.outcome(list(messages), rolls_back=rolls_back), database.connection(transaction=True) as connection:
            for id, message in messages.items():
                connection.execute(f"INSERT INTO business VALUES ({'?' if database.is_sqlite else '%s'})", [id])
                if isinstance(message, Job):
                    mill.sync.enqueue(message, id=id, tx=connection)
                else:
                    mill.sync.publish(message, id=id, tx=connection)
            connection.rollback() if rolls_back else connection.commit()

    @contextlib.contextmanager
    def outcome(self, ids: list[str], *, rolls_back: bool = False) -> Iterator[None]:
        """Note how it ended, if that is known: a commit whose reply was lost may have taken place."""
        try:
            yield
        except AWAY:
            if self.storm.sessions is None:
                raise
            return
        for id in ids:
            self.ledger.write("rolled back" if rolls_back else "sent", id)


class Operator:
    """A person who uses every verb, on whatever is there."""

    def __init__(self, storm: Storm) -> None:
        self.storm, self.app = storm, storm.site.app.sync
        self.chance = random.Random(f"{storm.seed} operator")
        self.begun = datetime.now(UTC)
        self.retired = False

    def run(self) -> None:
        verbs = [
            self.cancel, self.retry, self.delete, self.purge, self.replay, self.pause, self.resume, self.fill,
            self.cancel_many, self.retry_many, self.delete_many, self.replay_many, self.retire, self.look,
        ]  # fmt: skip
        self.chance.shuffle(verbs)
        time.sleep(1.0)  # until there is something to act on
        for place in range(1_000_000):
            if self.storm.is_over():
                return
            verb = verbs[place] if place < len(verbs) else self.chance.choice(verbs)
            try:
                verb()
            except (JobNotFound, InvalidTransition):
                self.storm.done["too late"] += 1
            except AWAY as error:
                if self.storm.sessions is None:
                    raise
                self.storm.done[f"{verb.__name__} failed: {type(error).__name__}"] += 1
            time.sleep(self.chance.random() * 0.1)

    def pick(self, *states: str) -> str | None:
        """Some job in one of these states. Deliveries in order are a person's only to cancel: see `cancel`."""
        page = self.app.jobs.list(state=self.chance.choice(states), limit=100)  # type: ignore[arg-type]
        ids = [job.id for job in page.jobs if job.name != "town.book"]
        return self.chance.choice(ids) if ids else None

    def note(self, verb: str, job: str, answer: str) -> None:
        self.storm.done[verb] += 1
        self.storm.site.ledger.write("operator", job, verb=verb, answer=answer)

    def cancel(self) -> None:
        page = self.app.jobs.list(state=self.chance.choice(["scheduled", "ready", "running"]), limit=100)
        if page.jobs:
            id = self.chance.choice(page.jobs).id
            self.note("cancel", id, self.app.jobs.cancel(id, reason="a storm", by="chaos").state.value)

    def retry(self) -> None:
        if id := self.pick("scheduled", "dead", "cancelled", "skipped"):
            self.note("retry", id, self.app.jobs.retry(id, by="chaos").state.value)

    def delete(self) -> None:
        if id := self.pick("scheduled", "ready", "completed", "cancelled", "dead"):
            self.note("delete", id, self.app.jobs.delete(id).value)

    def purge(self) -> None:
        if id := self.pick("scheduled", "ready", "completed", "cancelled", "dead"):
            self.note("purge", id, self.app.jobs.delete(id, purge=True).value)

    def replay(self) -> None:
        if id := self.pick("dead"):
            self.note("replay", id, str(self.app.jobs.replay(id, by="chaos")))

    def replay_many(self) -> None:
        self.count("replay many", self.app.jobs.replay(domain="mill"))

    def cancel_many(self) -> None:
        self.count("cancel many", self.app.jobs.cancel_many(job="mill.grind-in-thread", why="a storm"))

    def retry_many(self) -> None:
        self.count("retry many", self.app.jobs.retry_many(state="skipped"))

    def delete_many(self) -> None:
        self.count("delete many", self.app.jobs.delete_many(job="mill.grind", state="completed"))

    def count(self, verb: str, number: int) -> None:
        self.storm.done[verb] += number

    def pause(self) -> None:
        self.app.queues.pause(self.chance.choice(QUEUES), by="chaos")
        self.storm.done["pause"] += 1

    def resume(self) -> None:
        for queue in QUEUES:
            self.storm.done["resume"] += self.app.queues.resume(queue)

    def fill(self) -> None:
        since = self.chance.choice([None, self.begun, datetime.now(UTC) - timedelta(seconds=self.chance.random() * 3)])
        self.app.events.replay(to=f"town.{self.chance.choice(['crier', 'picky', 'book'])}", since=since)
        self.storm.done["fill"] += 1

    def retire(self) -> None:
        if not self.retired and self.chance.random() < 0.7:
            self.app.subscriptions.retire("town.doomed", by="chaos")
            self.retired = True
            self.storm.done["retire"] += 1

    def look(self) -> None:
        """The verbs that change nothing."""
        self.app.queues.list()
        self.app.subscriptions.list()
        self.app.workers.list()
        self.app.events.outbox()
        for job in self.app.jobs.list(limit=5).jobs:
            self.app.jobs.get(job.id)
