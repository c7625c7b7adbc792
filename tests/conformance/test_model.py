"""Any sequence of commands, at any virtual time, leaves a store as it leaves the model in plain Python."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from remit.db.opening import open_store
from remit.db.transaction import BlockingDatabase, Role, Row, run_blocking
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import Allotment, Claim, Ended
from remit.jobs.states import Completed, Failed, GaveUp, Interrupted, Outcome, Skipped, Snoozed, State, decide
from remit.runtime import operations as workers
from tests.conformance.desk import BOOM, DAWN, SECOND, At, a_job
from tests.conformance.model import Model, ModelJob

QUEUES = {1: "a.fast", 2: "a.fast", 3: "b.slow"}
OUTCOMES: list[Outcome] = [
    Completed('"done"'),
    Skipped("nothing to do"),
    Failed(BOOM, 0),
    Failed(BOOM, 4),
    GaveUp("no", BOOM),
    GaveUp("no"),
    Snoozed(4),
    Interrupted(),
]
few = st.integers(1, 6)


class Jobs(RuleBasedStateMachine):
    """One store and one model, given the same commands."""

    sent, held, alive = Bundle("sent"), Bundle("held"), Bundle("alive")
    database: BlockingDatabase
    look: str

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now = DAWN
        for table in ("job", "worker", "queue"):
            self.execute(f"DELETE FROM {{{table}}}")
        self.identity = self.does(jobs.store)

    # --- the store

    def does(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        return self.database.run(lambda tx: operation(At(tx, self.now), *args, **kwargs))

    def execute(self, sql: str) -> list[Row]:
        named = sql.format(**{name: self.look.format(name) for name in ("job", "worker", "queue", "failure")})
        with self.database.session() as session:
            return run_blocking(session.execute(named))

    # --- commands

    @initialize(target=alive)
    def two_workers(self) -> Any:
        return multiple(self.register(), self.register())

    @initialize(target=sent, attempts=st.integers(1, 3))
    def some_work(self, attempts: int) -> Any:
        said = {"delay": 0, "expires": None, "attempts": attempts}
        return multiple(*(self.enqueue(line=line, priority=line % 2, **said) for line in (1, 1, 2, 3)))

    @rule(
        target=sent,
        line=st.sampled_from([1, 2, 3]),
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0, 0, 3]),
        expires=st.sampled_from([None, None, 2, 8]),
        attempts=st.integers(1, 3),
    )
    def enqueue(self, line: int, priority: int, delay: int, expires: int | None, attempts: int) -> str:
        row, job = self.both(line=line, priority=priority, delay=delay, expires=expires, attempts=attempts)
        self.does(jobs.enqueue, [row], store=self.identity)
        self.model.enqueue(job, self.now)
        return job.id

    def both(self, *, line: int, priority: int, delay: int, expires: int | None, attempts: int) -> tuple[Any, ModelJob]:
        said = {"line": line, "queue": QUEUES[line], "priority": priority, "attempts": attempts}
        row = a_job(**said)
        if delay:
            row["delay"] = delay
        if expires is not None:
            row["expires"] = expires
        due = self.now + delay * SECOND
        until = None if expires is None else self.now + expires * SECOND
        return row, ModelJob(id=row["id"], state=State.READY, run_at=due, expires_at=until, **said)

    @rule(seconds=st.integers(1, 5), promote=st.booleans())
    def wait(self, seconds: int, promote: bool) -> None:
        self.now += seconds * SECOND
        if promote:
            self.promote()

    def register(self) -> str:
        worker = new_id()
        self.does(workers.register, worker, host="here", pid=1, about="{}")
        self.model.workers.add(worker)
        return worker

    @rule(target=alive, worker=alive, at_once=st.booleans())
    def a_worker_dies(self, worker: str, at_once: bool) -> str:
        """Whether its jobs are rescued now or later; it may not know it yet; and another comes."""
        assert self.does(workers.bury, worker, beat=0) == (worker in self.model.workers)
        self.model.workers.discard(worker)
        if at_once:
            self.rescue(100)
        return self.register()

    @rule(
        target=held,
        worker=alive,
        quotas=st.tuples(few, few, few),
        ceiling=st.sampled_from([-1, 0, 32767, 32767]),
        ends=st.lists(st.sampled_from([*OUTCOMES, "started", "held"]), min_size=1, max_size=4),
    )
    def claim(self, worker: str, quotas: tuple[int, int, int], ceiling: int, ends: list[Any]) -> Any:
        """And do something with each: end it, note that it has started, or hold it."""
        asked = [Allotment(line, QUEUES[line], quota, ceiling) for line, quota in zip((1, 2, 3), quotas, strict=True)]
        token = new_token()
        claims, expired = self.does(jobs.claim, asked, worker=worker, token=token)
        wanted, late = self.model.claim(asked, worker, token, self.now)
        assert ([claim.id for claim in claims], expired) == (wanted, late)
        for claim, end in zip(claims, itertools.cycle(ends), strict=False):
            job = self.model.jobs[claim.id]
            assert (claim.failures, claim.attempts, claim.suspect) == (job.failures, job.attempts, job.suspect > 0)
            if end == "started":
                self.start(claim)
            elif end != "held":
                self.end(claim, end, [])
        return multiple(*claims)

    def start(self, claim: Claim) -> None:
        assert self.does(jobs.start_suspect, claim.id, token=claim.token) == self.model.start_suspect(
            claim.id, claim.token
        )

    @rule(
        target=sent,
        claim=held,
        outcome=st.sampled_from(OUTCOMES),
        delays=st.lists(st.sampled_from([0, 3]), max_size=2),
    )
    def end(self, claim: Claim, outcome: Outcome, delays: list[int]) -> Any:
        """Whether the lease is still held or not."""
        pairs = [self.both(line=1, priority=0, delay=delay, expires=None, attempts=3) for delay in delays]
        messages = [{**row, "causation": claim.id} for row, _ in pairs]
        transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
        stamp = new_token()
        ended = Ended(claim.id, claim.token, claim.attempt, transition, messages)
        landed = self.does(jobs.finish, [ended], worker=new_id(), stamp=stamp)
        sent = [job for _, job in pairs]
        wanted = self.model.finish(claim.id, claim.token, outcome, sent, stamp, self.now)
        assert [(one.id, one.state) for one in landed] == wanted
        return multiple(*(job.id for job in sent if landed))

    @rule(
        housekeeping=st.sampled_from(["promote", "rescue", "rescue", "rescue one", "replay", "prune", "pause"]),
        data=st.data(),
    )
    def keep_house(self, housekeeping: str, data: st.DataObject) -> None:
        match housekeeping:
            case "promote":
                self.promote()
            case "rescue":
                self.rescue(100)
            case "rescue one":
                self.rescue(1)
            case "replay":
                self.replay(data.draw(st.sampled_from([1, 100])))
            case "prune":
                self.prune(QUEUES[data.draw(st.sampled_from([1, 3]))], data.draw(st.integers(0, 5)))
            case _:
                self.pause_or_resume(QUEUES[data.draw(st.sampled_from([1, 3]))])

    def promote(self) -> None:
        promoted, due = self.does(jobs.promote, limit=1000)
        assert promoted == self.model.promote(self.now)
        later = [job.run_at for job in self.model.jobs.values() if job.state is State.SCHEDULED]
        assert due == (pytest.approx((min(later) - self.now) / SECOND) if later else None)

    def rescue(self, limit: int) -> None:
        token = new_token()
        rescued = self.does(jobs.rescue, token=token, limit=limit)
        assert sorted(rescued) == sorted(self.model.rescue(token, limit, self.now))

    def replay(self, limit: int) -> None:
        token = new_token()
        chosen: dict[str, Any] = dict.fromkeys(["domain", "queue", "name", "reason", "before", "after"])
        replayed = self.does(jobs.replay, **chosen, token=token, limit=limit)
        assert replayed == self.model.replay(token, limit, self.now)

    def prune(self, queue: str, age: int) -> None:
        for dead in (False, True):
            removed = self.does(jobs.prune, queue=queue, age=float(age), dead=dead, limit=1000)
            assert removed == self.model.prune(queue, self.now - age * SECOND, dead)
        removed = self.does(jobs.prune_beyond, queue=queue, count=2, limit=1000)
        assert removed == self.model.prune_beyond(queue, 2)

    def pause_or_resume(self, queue: str) -> None:
        if queue in self.model.paused:
            assert self.does(jobs.resume, queue)
            self.model.paused.discard(queue)
        else:
            self.does(jobs.pause, queue, by=None)
            self.model.paused.add(queue)

    @rule(id=sent, command=st.sampled_from(["cancel", "cancel", "retry", "retry", "delete", "purge", "enqueue"]))
    def act(self, id: str, command: str) -> None:
        token = new_token()
        match command:
            case "cancel":
                did = self.does(jobs.cancel, id, reason="not wanted", by="ops")
                assert did == self.model.cancel(id, "not wanted", self.now)
            case "retry":
                assert self.does(jobs.retry, id, token=token) == self.model.retry(id, token, self.now)
            case "enqueue" if id in self.model.jobs:
                self.does(jobs.enqueue, [a_job(id=id, priority=99)], store=self.identity)
            case "delete" | "purge":
                purge = command == "purge"
                assert self.does(jobs.delete, id, purge=purge) == self.model.delete(id, purge, self.now)

    # --- what must hold after each

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        columns = "id, state, priority, attempts, failures, suspect, token, worker, reason"
        times = ["run_at", "claimed_at", "finished_at", "expires_at", "cancel_at", "deleted_at"]
        shown = [f"remit.micros({name})" if "." in self.look else name for name in times]
        errors = "(SELECT count(*) FROM {failure} AS f WHERE f.job = j.id)"
        rows = self.execute(f"SELECT {columns}, {', '.join(shown)}, {errors} FROM {{job}} AS j")
        names = [*columns.split(", "), *times, "errors"]
        found = {str(row[0]): dict(zip(names, map(_plain, row), strict=True)) for row in rows}
        assert found == {
            job.id: {name: _plain(getattr(job, name)) for name in names} for job in self.model.jobs.values()
        }

    @invariant()
    def the_waiting_are_counted(self) -> None:
        found = {(queue, state): count for queue, state, count, _ in self.does(jobs.waiting)}
        wanted: dict[tuple[str, State], int] = {}
        for job in self.model.jobs.values():
            if not job.state.is_final:
                wanted[job.queue, job.state] = wanted.get((job.queue, job.state), 0) + 1
        assert found == wanted


def _plain(value: Any) -> Any:
    return str(value) if hasattr(value, "hex") and not isinstance(value, int | float) else value


def explore(url: str, table: str, examples: int) -> None:
    database = open_store(url).blocking(Role.CLIENT)

    class Machine(Jobs):
        look = table

    Machine.database = database
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        database.close()


def test_sqlite_is_as_the_model(empty_sqlite: str) -> None:
    explore(empty_sqlite, "remit_{}", 120)


def test_postgres_is_as_the_model(empty_postgres: str) -> None:
    explore(empty_postgres, "remit.{}", 50)
