"""Any sequence of commands, at any virtual time, leaves a store as it leaves the model in plain Python.

Hypothesis looks for the shortest sequence that does not; long random walks go where it seldom comes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
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
from remit.db.statements import Dialect
from remit.db.transaction import BlockingDatabase, Role, Row, run_blocking
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim, Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, GaveUp, Interrupted, Outcome, Skipped, Snoozed, State, Stopped, decide
from remit.runtime import operations as workers
from tests.conformance.desk import BOOM, DAWN, SECOND, At, a_job
from tests.conformance.model import COLUMNS, Model, ModelJob

QUEUES = {1: "a.fast", 2: "a.fast", 3: "b.slow"}
OUTCOMES: list[Outcome] = [
    Completed('"done"'),
    Skipped("nothing to do"),
    Failed(BOOM, 0),
    Failed(BOOM, 4),
    GaveUp("no", BOOM),
    GaveUp("no"),
    Snoozed(4),
    Stopped("half of it is done"),
    Interrupted(),
    Interrupted(began=True),
]
ENDS: list[Outcome | str] = [*OUTCOMES, "started", "started", "held", "held"]
COMMANDS = ["wait", "wait", "wait", "promote", "promote", "die", "rescue", "rescue", "replay", "prune", "pause"]
COMMANDS += ["cancel", "cancel", "retry", "retry", "delete", "purge", "enqueue"]


class Twins:
    """A store and a model, given the same commands; both must answer the same."""

    def __init__(self, database: BlockingDatabase, dialect: Dialect) -> None:
        self.database = database
        self.postgres = dialect == "postgres"
        self.model = Model()
        self.now = DAWN
        for table in ("job", "worker", "queue"):
            self.execute(f"DELETE FROM {{{table}}}")
        self.identity = self.does(jobs.store)

    def does(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        return self.database.run(lambda tx: operation(At(tx, self.now), *args, **kwargs))

    def execute(self, sql: str) -> list[Row]:
        prefix = "remit." if self.postgres else "remit_"
        with self.database.session() as session:
            tables = ("job", "worker", "queue", "failure")
            return run_blocking(session.execute(sql.format(**{name: prefix + name for name in tables})))

    # --- commands

    def send(self, line: int, priority: int, delay: int, expires: int | None, attempts: int) -> str:
        row, job = self._both(line, priority, delay, expires, attempts)
        self.does(jobs.enqueue, [row], store=self.identity)
        self.model.enqueue(job, self.now)
        return job.id

    def _both(self, line: int, priority: int, delay: int, expires: int | None, attempts: int) -> tuple[Any, ModelJob]:
        said: dict[str, Any] = {"line": line, "queue": QUEUES[line], "priority": priority, "attempts": attempts}
        row = a_job(**said)
        if delay:
            row["delay"] = delay
        if expires is not None:
            row["expires"] = expires
        due = self.now + delay * SECOND
        until = None if expires is None else due + expires * SECOND
        return row, ModelJob(id=row["id"], state=State.READY, run_at=due, expires_at=until, **said)

    def register(self) -> str:
        worker = new_id()
        self.does(workers.register, worker, host="here", pid=1, about="{}")
        self.model.workers.add(worker)
        return worker

    def die(self, worker: str) -> None:
        """It may not know it yet."""
        assert self.does(workers.declare_dead, worker, beat=0) == (worker in self.model.workers)
        self.model.workers.discard(worker)

    def claim(self, worker: str, quotas: Sequence[int], ceiling: int, ends: Sequence[Outcome | str]) -> list[Claim]:
        """And do something with each: end it, note that it has started, or hold it."""
        asked = [Allotment(line, QUEUES[line], quota, ceiling) for line, quota in zip((1, 2, 3), quotas, strict=True)]
        token = new_token()
        claims, expired = self.does(execution.claim, asked, worker=worker, token=token)
        wanted, late = self.model.claim(asked, worker, token, self.now)
        assert ([claim.id for claim in claims], [claim.id for claim in expired]) == (wanted, late)
        for claim, end in zip(claims, itertools.cycle(ends), strict=False):
            job = self.model.jobs[claim.id]
            assert (claim.failures, claim.attempts, claim.suspect) == (job.failures, job.attempts, job.suspect > 0)
            if end == "started":
                started = self.does(execution.start_suspect, claim.id, token=claim.token)
                assert started == self.model.start_suspect(claim.id, claim.token)
            elif not isinstance(end, str):
                self.end(claim, end, [])
        return claims

    def end(self, claim: Claim, outcome: Outcome, delays: Sequence[int]) -> list[str]:
        """Whether the lease is still held or not."""
        pairs = [self._both(1, 0, delay, None, 3) for delay in delays]
        messages = [{**row, "causation": claim.id} for row, _ in pairs]
        transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
        stamp = new_token()
        ended = Ended(claim.id, claim.token, claim.attempt, transition, messages)
        landed = self.does(execution.finish, [ended], worker=new_id(), stamp=stamp)
        sent = [job for _, job in pairs]
        wanted = self.model.finish(claim.id, claim.token, outcome, sent, stamp, self.now)
        assert [(one.id, one.state) for one in landed] == wanted
        return [job.id for job in sent if landed]

    def manage(self, command: str, id: str, worker: str, small: int) -> None:
        """What time, workers, operators and the keepers of the house do."""
        match command:
            case "wait":
                self.now += small * SECOND
            case "promote":
                self._promote()
            case "die":
                self.die(worker)
            case "rescue":
                self._rescue(1 if small == 1 else 100)
            case "replay":
                self._replay(1 if small == 1 else 100)
            case "prune":
                self._prune(QUEUES[1 + small % 3], small)
            case "pause":
                self._pause_or_resume(QUEUES[1 + small % 3])
            case _:
                self._act(command, id)

    def _promote(self) -> None:
        promoted, due = self.does(jobs.promote, limit=1000)
        assert promoted == self.model.promote(self.now)
        later = [job.run_at for job in self.model.jobs.values() if job.state is State.SCHEDULED]
        assert due == (pytest.approx((min(later) - self.now) / SECOND) if later else None)

    def _rescue(self, limit: int) -> None:
        token = new_token()
        rescued = [job[:3] for job in self.does(execution.rescue, token=token, limit=limit)]
        assert sorted(rescued) == sorted(self.model.rescue(token, limit, self.now))

    def _replay(self, limit: int) -> None:
        token = new_token()
        chosen: dict[str, Any] = dict.fromkeys(["domain", "queue", "name", "reason", "ended_before", "after"])
        replayed = self.does(jobs.replay, **chosen, token=token, limit=limit)
        assert replayed == self.model.replay(token, limit, self.now)

    def _prune(self, queue: str, age: int) -> None:
        for dead in (False, True):
            removed = self.does(jobs.prune, queue=queue, age=float(age), dead=dead, limit=1000)
            assert removed == self.model.prune(queue, self.now - age * SECOND, dead)
        removed = self.does(jobs.prune_beyond, queue=queue, count=4, limit=1000)
        assert removed == self.model.prune_beyond(queue, 4)

    def _pause_or_resume(self, queue: str) -> None:
        if queue in self.model.paused:
            assert self.does(jobs.resume, queue)
            self.model.paused.discard(queue)
        else:
            self.does(jobs.pause, queue, by=None)
            self.model.paused.add(queue)

    def _act(self, command: str, id: str) -> None:
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

    def check(self) -> None:
        assert self.rows() == self.model.rows()

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the store holds, as `Model.rows` gives it."""
        columns = [name for name in COLUMNS if name != "errors"]
        shown = [f"remit.micros({name})" if self.postgres and name.endswith("_at") else name for name in columns]
        errors = "(SELECT count(*) FROM {failure} AS f WHERE f.job = j.id)"
        rows = self.execute(f"SELECT {', '.join(shown)}, {errors} FROM {{job}} AS j")
        return {str(row[0]): dict(zip([*columns, "errors"], map(_plain, row), strict=True)) for row in rows}

    def check_counts(self) -> None:
        found = {(queue, state): count for queue, state, count, *_ in self.does(jobs.waiting)}
        wanted: dict[tuple[str, State], int] = {}
        for job in self.model.jobs.values():
            if not job.state.is_final:
                wanted[job.queue, job.state] = wanted.get((job.queue, job.state), 0) + 1
        assert found == wanted


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else str(value)


# --- the shortest sequence that goes wrong

lines, priorities, attempts = st.sampled_from([1, 2, 3]), st.integers(-1, 1), st.integers(1, 3)
few = st.integers(1, 6)


class Commands(RuleBasedStateMachine):
    """Few rules: each run leaves some out, and must not leave out most."""

    sent, held, alive = Bundle("sent"), Bundle("held"), Bundle("alive")
    database: BlockingDatabase
    dialect: Dialect

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins(self.database, self.dialect)

    @initialize(target=alive)
    def two_workers(self) -> Any:
        return multiple(self.twins.register(), self.twins.register())

    @initialize(target=sent, attempts=attempts)
    def some_work(self, attempts: int) -> Any:
        return multiple(*(self.twins.send(line, line % 2, 0, None, attempts) for line in (1, 1, 2, 3)))

    @rule(
        target=sent,
        line=lines,
        priority=priorities,
        delay=st.sampled_from([0, 0, 3]),
        expires=st.sampled_from([None, None, 2, 8]),
        attempts=attempts,
    )
    def send(self, line: int, priority: int, delay: int, expires: int | None, attempts: int) -> str:
        return self.twins.send(line, priority, delay, expires, attempts)

    @rule(
        target=held,
        worker=alive,
        quotas=st.tuples(few, few, few),
        ceiling=st.sampled_from([-1, 0, 32767, 32767]),
        ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=4),
    )
    def claim(self, worker: str, quotas: tuple[int, int, int], ceiling: int, ends: list[Outcome | str]) -> Any:
        return multiple(*self.twins.claim(worker, quotas, ceiling, ends))

    @rule(
        target=sent, claim=held, outcome=st.sampled_from(OUTCOMES), delays=st.lists(st.sampled_from([0, 3]), max_size=2)
    )
    def end(self, claim: Claim, outcome: Outcome, delays: list[int]) -> Any:
        return multiple(*self.twins.end(claim, outcome, delays))

    @rule(target=alive, command=st.sampled_from(COMMANDS), id=sent, worker=alive, small=st.integers(0, 5))
    def manage(self, command: str, id: str, worker: str, small: int) -> Any:
        self.twins.manage(command, id, worker, small)
        return self.twins.register() if command == "die" else multiple()

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.twins.check()
        self.twins.check_counts()


def explore(url: str, examples: int) -> None:
    store = open_store(url)
    database = store.blocking(Role.CLIENT)
    machine = type("Machine", (Commands,), {"database": database, "dialect": store.dialect})
    quick = settings(max_examples=examples, stateful_step_count=40, suppress_health_check=list(HealthCheck))
    try:
        run_state_machine_as_test(machine, settings=quick)
    finally:
        database.close()


def test_sqlite_is_as_the_model(empty_sqlite: str) -> None:
    explore(empty_sqlite, 50)


def test_postgres_is_as_the_model(empty_postgres: str) -> None:
    explore(empty_postgres, 25)


# --- long walks


def walk(url: str, seed: int, steps: int) -> None:
    store = open_store(url)
    database = store.blocking(Role.CLIENT)
    chance = random.Random(seed)
    twins = Twins(database, store.dialect)
    alive = [twins.register(), twins.register()]
    sent = [twins.send(line, 0, 0, None, 2) for line in QUEUES]
    held: list[Claim] = []
    try:
        for _ in range(steps):
            match chance.choices(["send", "claim", "end", "manage"], [3, 3, 3, 4])[0]:
                case "send":
                    delay, expires = chance.choice([0, 0, 3]), chance.choice([None, None, 2, 8])
                    chosen = chance.randint(1, 3), chance.randint(-1, 1), delay, expires, chance.randint(1, 3)
                    sent.append(twins.send(*chosen))
                case "claim":
                    quotas = [chance.randint(0, 3) for _ in QUEUES]
                    ends = chance.choices(ENDS, k=3)
                    held += twins.claim(chance.choice(alive), quotas, chance.choice([0, 32767]), ends)
                case "end" if held:
                    delays = chance.choices([0, 3], k=chance.choice([0, 0, 1]))
                    sent += twins.end(chance.choice(held[-8:]), chance.choice(OUTCOMES), delays)
                case _:
                    command = chance.choice(COMMANDS)
                    twins.manage(command, chance.choice(sent[-20:]), alive[0], chance.randint(0, 5))
                    if command == "die":
                        alive = [*alive[1:], twins.register()]
            twins.check()
        twins.check_counts()
    finally:
        database.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_long_walk_on_sqlite(empty_sqlite: str, seed: int) -> None:
    walk(empty_sqlite, seed, 400)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_walk_on_postgres(empty_postgres: str, seed: int) -> None:
    walk(empty_postgres, seed, 300)
