"""What the fault tests stand on: a site with real worker processes, and an oracle that stands outside of them.

The oracle knows what was sent and what ran from the ledger, a file, and what the store holds by SQL of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import psutil
import psycopg

from remit import Domain, Job, Remit
from remit.errors import StoreError
from tests.faults.application import yard
from tests.faults.ledger import Ledger

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LEASE = 1.5
"""Seconds. Short, so that rescues come soon; a fault that must cost no lease takes a longer one."""
PATIENCE = 40.0
"""Seconds after which a condition is held to be unreachable. Nothing is asserted about how long it took."""

FINAL = ("completed", "skipped", "cancelled", "dead")


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Wait until a condition holds; answers what it answered."""
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True, slots=True)
class Row:
    """A job as the store holds it, read without remit."""

    id: str
    name: str
    state: str
    worker: str | None
    failures: int
    attempts: int
    payload: str | None
    result: str | None
    reason: str | None
    causation: str | None
    errors: int

    @property
    def number(self) -> int:
        return int(json.loads(self.payload or "{}")["number"])


class Database:
    """The store as an operator sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._kept: Any = None

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///").partition("?")[0])

    @contextlib.contextmanager
    def connection(self, *, transaction: bool = False) -> Iterator[Any]:
        """A driver's connection; with `transaction`, one that can write, and that the block commits itself."""
        with contextlib.closing(self._open(transaction=transaction)) as opened:
            if self.is_sqlite and transaction:
                opened.execute("BEGIN IMMEDIATE")
            yield opened

    def _open(self, *, transaction: bool = False) -> Any:
        if self.is_sqlite:
            return sqlite3.connect(self.path, timeout=30, isolation_level=None)
        return psycopg.connect(self.url, autocommit=not transaction)

    def execute(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run one statement, written for PostgreSQL, and commit it."""
        if self.is_sqlite:
            sql = sql.replace("remit.", "remit_").replace("%s", "?").replace("::text", "")
        try:
            return self._run(sql, params)
        except psycopg.OperationalError:  # the server was restarted, or the session ended, since the last one
            self.close()
            return self._run(sql, params)

    def _run(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._kept is None:
            self._kept = self._open()
        cursor = self._kept.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def rows(self) -> dict[str, Row]:
        """Every job, by id."""
        found = self.execute(
            "SELECT id::text, name, state, worker::text, failures, attempts, payload, result, reason, causation::text,"
            " (SELECT count(*) FROM remit.failure WHERE failure.job = job.id) FROM remit.job AS job"
            if not self.is_sqlite
            else "SELECT id, name, state, worker, failures, attempts, payload, result, reason, causation,"
            " (SELECT count(*) FROM remit_failure AS failure WHERE failure.job = job.id) FROM remit_job AS job"
        )
        return {row[0]: Row(*row) for row in found}

    def workers(self) -> set[str]:
        """The ids of the registered workers."""
        return {row[0] for row in self.execute("SELECT id::text FROM remit.worker")}

    def beat(self, worker: str) -> int:
        """The counter of a worker, as its row has it; -1 when the row is gone."""
        rows = self.execute("SELECT beat FROM remit.worker WHERE id::text = %s", worker)
        return int(rows[0][0]) if rows else -1

    def leader(self) -> str | None:
        rows = self.execute("SELECT holder::text FROM remit.leader")
        return rows[0][0] if rows else None

    def effects(self) -> Counter[str]:
        """How often each job's effect stands in the application's table."""
        return Counter(row[0] for row in self.execute("SELECT job FROM effect"))


class WorkerProcess:
    """A worker in a process of its own. Whatever the test does to it, it is gone when the test ends."""

    def __init__(self, site: Site, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self._out, self._err = site.folder / f"{name}.out", site.folder / f"{name}.log"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self._err.read_text(errors="replace")

    def said(self, word: str) -> list[str] | None:
        """The rest of the first line that begins with a word, once it was said."""
        for line in self._out.read_text().splitlines():
            first, *rest = line.split()
            if first == word:
                return rest
        return None

    def await_said(self, word: str) -> list[str]:
        def heard() -> list[str] | None:
            found = self.said(word)
            assert found is not None or self.process.poll() is None, f"{self.name} ended before {word!r}\n{self.log}"
            return found

        answer = until(lambda: heard() is not None, f"{self.name} says {word!r}\n{self.tail}") and self.said(word)
        assert answer is not None
        return answer

    @property
    def id(self) -> str:
        """Its id when it was ready first; waits for that."""
        return self.await_said("ready")[0]

    def ready(self) -> Self:
        self.await_said("ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def freeze(self) -> None:
        """SIGSTOP, and wait until every thread stands."""
        self.signal(signal.SIGSTOP)
        status = Path(f"/proc/{self.pid}/status")
        until(lambda: "State:\tT" in status.read_text(), f"{self.name} stands")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the end; answers the exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end\n{self.tail}") from None

    def stop(self) -> int:
        """SIGTERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait()

    @property
    def tail(self) -> str:
        lines = self.log.splitlines()[-40:] if self._err.exists() else []
        return "\n".join([f"--- {self.name} ({self.process.poll()})", *lines])

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()


class Site:
    """One database, one ledger, any number of workers."""

    domains: Sequence[Domain[Any]] = (yard,)

    def __init__(self, url: str, folder: Path, *, worker_url: str | None = None, pooler: bool = False) -> None:
        self.folder = folder
        self.url = url
        self.worker_url = worker_url or url
        self.database = Database(url)
        self.ledger = Ledger(folder)
        self.workers: list[WorkerProcess] = []
        self._pooler = pooler
        (folder / "gates").mkdir(parents=True)
        self.app = Remit(url, domains=self.domains, name="site")
        self.app.sync.migrate()
        self.database.execute("CREATE TABLE effect (job text NOT NULL, number integer, attempt integer)")
        self._bound = self.app.bound()

    def __enter__(self) -> Self:
        self._bound.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close()
        self.app.sync.__exit__()
        self.database.close()
        self._bound.__exit__(kind, error, trace)
        if isinstance(error, Exception) and hasattr(error, "add_note"):
            for worker in self.workers:
                error.add_note(worker.tail)

    # --- workers

    def worker(
        self,
        *,
        lease: float = LEASE,
        grace: float = 5.0,
        url: str | None = None,
        application: str = "tests.faults.application",
        die_at: str | None = None,
        prefix: Sequence[str] = (),
        release: str = "",
        **options: Any,
    ) -> WorkerProcess:
        """Start a worker; it is not ready yet. `release` is for an application that has several."""
        settings = {"lease": lease, "grace": grace, "pooler": self._pooler, "application": application, **options}
        if die_at:
            settings["die_at"] = die_at
        environment = {
            **os.environ,
            "FAULTS_URL": url or self.worker_url,
            "FAULTS_FOLDER": str(self.folder),
            "FAULTS_OPTIONS": json.dumps(settings),
            "FAULTS_RELEASE": release,
        }
        command = [*prefix, sys.executable, "-m", "tests.faults.worker_main"]
        worker = WorkerProcess(self, f"worker-{len(self.workers) + 1}", command, environment)
        self.workers.append(worker)
        return worker

    def started(self, count: int = 1, **options: Any) -> list[WorkerProcess]:
        """Start some workers, and wait until all are ready."""
        workers = [self.worker(**options) for _ in range(count)]
        return [worker.ready() for worker in workers]

    # --- jobs

    def send(self, job: Job[Any], **options: Any) -> str:
        """Enqueue a job, and note it in the ledger once it is committed; answers its id."""
        ref = yard.sync.enqueue(job, **options)
        self.ledger.write("sent", ref.id)
        return ref.id

    def send_surely(self, job: Job[Any], **options: Any) -> str:
        """Enqueue under an id of our own, again and again until the store has answered: it may be away meanwhile."""
        id = str(uuid4())

        def sent() -> bool:
            try:
                yard.sync.enqueue(job, id=id, **options)
            except StoreError:
                return False
            return True

        until(sent, "the store takes a job")
        self.ledger.write("sent", id)
        return id

    def send_all(self, jobs: Sequence[Job[Any]], **options: Any) -> list[str]:
        ids = [ref.id for ref in yard.sync.enqueue_many(jobs, **options)]
        for id in ids:
            self.ledger.write("sent", id)
        return ids

    def send_from(self, application: str, *jobs: str) -> list[str]:
        """Enqueue jobs of another release of the application, written as Python, in a process of its own."""
        script = (
            f"from {application} import *\nfrom remit import Remit\nRemit({self.url!r}, domains=[yard])\n"
            f"for job in [{', '.join(jobs)}]: print(yard.sync.enqueue(job).id)"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        ids = done.stdout.split()
        for id in ids:
            self.ledger.write("sent", id)
        return ids

    def open(self, *gates: str) -> None:
        for gate in gates:
            (self.folder / "gates" / gate).touch()

    # --- waiting

    def await_line(self, what: str, job: str, count: int = 1) -> None:
        """Wait until the ledger holds so many lines about a job."""
        until(lambda: self.ledger.count(what, job) >= count, f"{what} {job}, {count} times; {self._told()}")

    def await_state(self, id: str, *states: str) -> Row:
        def there() -> Row | None:
            row = self.database.rows().get(id)
            return row if row is not None and row.state in states else None

        return until(there, f"{id} is {' or '.join(states)}; {self._told()}")

    def await_final(self, *ids: str) -> dict[str, Row]:
        """Wait until jobs, by default all that there are, have ended."""

        def ended() -> dict[str, Row] | None:
            rows = self.database.rows()
            wanted = [rows[id] for id in ids] if ids else list(rows.values())
            return rows if all(row.state in FINAL for row in wanted) else None

        return until(ended, f"all jobs end; {self._told()}")

    def await_leases(self, worker: WorkerProcess, count: int = 2) -> None:
        """Wait until a worker that beats five times a lease has beaten for so many leases."""
        start = self.database.beat(worker.id)
        until(lambda: self.database.beat(worker.id) >= start + 5 * count, f"{worker.name} beats\n{worker.tail}")

    def await_blocked(self, role: str) -> None:
        """Wait until a session of a role waits for a lock (PostgreSQL)."""
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        until(lambda: self.database.execute(waits, f"remit:{role}"), f"the session {role} waits for a lock")

    def _told(self) -> str:
        return f"states: {Counter(row.state for row in self.database.rows().values())}"

    # --- the oracle

    def check(self, *, ended: bool = True, gone: Iterable[str] = ()) -> dict[str, Row]:
        """The invariants of the design, as seen from outside.

        `ended` when nothing should be left to do; `gone` are jobs that were removed on purpose.
        """
        rows = self.database.rows()
        check_invariants(rows, self.database, self.ledger, ended=ended, gone=set(gone))
        return rows


def check_invariants(rows: dict[str, Row], database: Database, ledger: Ledger, *, ended: bool, gone: set[str]) -> None:
    """Compare the store with the ledger; the numbers are those of design, section 6."""
    sent = ledger.jobs("sent")
    lost = sent - rows.keys() - gone
    assert not lost, f"1: {len(lost)} committed jobs are gone: {sorted(lost)[:3]}"
    if ended:
        open_rows = [row for row in rows.values() if row.state not in FINAL]
        assert not open_rows, f"1: not ended: {open_rows[:3]}"
    strangers = {id for id, row in rows.items() if id not in sent and row.causation is None}
    assert not strangers, f"5: in the store, and never committed by anybody: {sorted(strangers)[:3]}"

    ran, effects = ledger.jobs("started"), database.effects()
    for id, row in rows.items():
        if row.state == "completed":
            assert id in ran, f"2: completed, and never started: {row}"
        if row.name.startswith("yard.deposit"):
            expected = 1 if row.state == "completed" else 0
            assert effects[id] == expected, f"2: {effects[id]} effects in the database, the job is {row}"
    assert not effects.keys() - rows.keys(), "5: effects of jobs that do not exist"

    workers = database.workers()
    orphans = [row for row in rows.values() if row.state == "running" and row.worker not in workers]
    assert not orphans, f"4: running under nobody: {orphans[:3]}"

    children = Counter(row.causation for row in rows.values() if row.causation)
    for id, row in rows.items():
        if row.name == "yard.parent":
            wanted = json.loads(row.payload or "")["children"] if row.state == "completed" else 0
            assert children[id] == wanted, f"5: {children[id]} messages of {row}"

    for row in rows.values():
        assert row.errors == row.failures, f"9: charged {row.failures} attempts for {row.errors} failures: {row}"
        assert row.failures <= row.attempts, f"9: more attempts than it has: {row}"
        if row.state == "dead":
            assert row.reason, f"10: dead without a reason: {row}"
            assert row.payload, f"10: dead without its payload: {row}"
