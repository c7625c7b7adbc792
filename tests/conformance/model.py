"""What a store of jobs is, in plain Python: the rules of the design, without a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from remit.execution.model import Allotment
from remit.jobs.states import FINAL, Command, Interrupted, Outcome, State, allows, decide


@dataclass
class ModelJob:
    id: str
    line: int
    queue: str
    state: State
    run_at: int
    priority: int = 0
    attempts: int = 3
    failures: int = 0
    errors: int = 0
    suspect: int = 0
    token: int = 0
    worker: str | None = None
    claimed_at: int | None = None
    finished_at: int | None = None
    expires_at: int | None = None
    cancel_at: int | None = None
    deleted_at: int | None = None
    reason: str | None = None

    @property
    def position(self) -> tuple[int, int, str]:
        return self.priority, self.run_at, self.id

    def ends(self, state: State, now: int, reason: str | None) -> None:
        self.state, self.finished_at, self.reason, self.worker = state, now, reason, None


COLUMNS = [column.name for column in fields(ModelJob) if column.name not in ("line", "queue")]


@dataclass
class Model:
    """Each method does what the operation of its name does, and answers the same."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def rows(self) -> dict[str, dict[str, Any]]:
        return {job.id: {name: getattr(job, name) for name in COLUMNS} for job in self.jobs.values()}

    def enqueue(self, job: ModelJob, now: int) -> None:
        job.state = State.READY if job.run_at <= now else State.SCHEDULED
        self.jobs.setdefault(job.id, job)

    def claim(self, allotments: Iterable[Allotment], worker: str, token: int, now: int) -> tuple[list[str], list[str]]:
        open_ones = [one for one in allotments if worker in self.workers and one.queue not in self.paused]
        ready = {
            one.line: [job for job in self._in(State.READY) if job.line == one.line and job.priority <= one.ceiling]
            for one in open_ones
        }
        suspects = [job for jobs in ready.values() for job in jobs if job.suspect]
        suspect = min(suspects, key=lambda job: job.position, default=None)
        taken: list[ModelJob] = []
        for one in open_ones:
            wanted = [job for job in ready[one.line] if not job.suspect or job is suspect]
            taken += sorted(wanted, key=lambda job: job.position)[: one.quota]
        taken.sort(key=lambda job: job.position)
        claimed, expired = [], []
        for job in taken:
            job.token, job.claimed_at = token, now
            if job.expires_at is not None and job.expires_at <= now:
                job.ends(State.CANCELLED, now, "expired before its first run")
                expired.append(job.id)
            else:
                job.state, job.worker = State.RUNNING, worker
                claimed.append(job.id)
        return claimed, expired

    def finish(
        self, id: str, token: int, outcome: Outcome, messages: list[ModelJob], stamp: int, now: int
    ) -> list[tuple[str, State]]:
        job = self.jobs.get(id)
        if job is None or job.state is not State.RUNNING or job.token != token:
            return []
        moved = decide(outcome, failures=job.failures, attempts=job.attempts)
        job.failures, job.token, job.worker = moved.failures, stamp, None
        job.errors += moved.failure is not None
        job.suspect = min(job.suspect, 1) if isinstance(outcome, Interrupted) else 0
        if moved.state is State.SCHEDULED or moved.began:
            job.expires_at = None
        if moved.state is State.SCHEDULED:
            assert moved.delay is not None
            job.run_at = now + round(moved.delay * 1_000_000)
        if moved.state is State.CANCELLED and job.cancel_at is not None:
            job.ends(moved.state, now, job.reason or moved.reason)
        elif moved.state.is_final:
            job.ends(moved.state, now, moved.reason)
        elif job.cancel_at is not None:
            job.ends(State.CANCELLED, now, job.reason)
        else:
            job.state, job.reason = moved.state, None
        for message in messages:
            self.enqueue(message, now)
        return [(id, job.state)]

    def start_suspect(self, id: str, token: int) -> bool:
        job = self.jobs.get(id)
        if job is None or job.token != token:
            return False
        job.suspect = 2
        return True

    def promote(self, now: int) -> int:
        due = [job for job in self._in(State.SCHEDULED) if job.run_at <= now]
        for job in due:
            job.state, job.run_at = State.READY, now
        return len(due)

    def rescue(self, token: int, limit: int, now: int) -> list[tuple[str, State, bool]]:
        lost = sorted((j for j in self._in(State.RUNNING) if j.worker not in self.workers), key=lambda j: j.id)[:limit]
        answers = []
        for job in lost:
            crashed = job.suspect == 2
            job.failures += crashed
            job.errors += crashed
            job.suspect, job.token, job.expires_at = 1, token, None
            if job.cancel_at is not None:
                job.ends(State.CANCELLED, now, job.reason)
            elif crashed and job.failures >= job.attempts:
                job.ends(State.DEAD, now, f"killed its worker in {job.failures} of {job.attempts} attempts")
            else:
                job.state, job.worker = State.READY, None
            answers.append((job.id, job.state, crashed))
        return answers

    def cancel(self, id: str, reason: str, now: int) -> tuple[State | None, bool]:
        job = self.jobs.get(id)
        if job is None:
            return None, False
        was = job.state
        if was in (State.SCHEDULED, State.READY, State.RUNNING):
            job.cancel_at, job.reason = now, reason
            if was is not State.RUNNING:
                job.ends(State.CANCELLED, now, reason)
        return was, allows(Command.CANCEL, was)

    def retry(self, id: str, token: int, now: int) -> tuple[State | None, bool]:
        job = self.jobs.get(id)
        if job is None:
            return None, False
        was, again = job.state, job.token == token
        if applies := allows(Command.RETRY, was):
            self.jobs[id] = replace(_anew(job, token, now), deleted_at=None)
        return was, applies or again

    def delete(self, id: str, purge: bool, now: int) -> tuple[State | None, bool]:
        job = self.jobs.get(id)
        if job is None:
            return None, False
        was = job.state
        if not allows(Command.DELETE, was):
            return was, False
        if purge:
            del self.jobs[id]
        else:
            if was not in FINAL:
                job.ends(State.CANCELLED, now, "deleted")
            job.deleted_at = now
        return was, True

    def replay(self, token: int, limit: int, now: int) -> list[str]:
        chosen = sorted(job.id for job in self._in(State.DEAD) if job.deleted_at is None)[:limit]
        for id in chosen:
            self.jobs[id] = _anew(self.jobs[id], token, now)
        return chosen

    def prune(self, queue: str, before: int, dead: bool) -> int:
        old = [
            job.id
            for job in self.jobs.values()
            if job.queue == queue
            and job.finished_at is not None
            and (job.state is State.DEAD) == dead
            and job.finished_at < before
        ]
        for id in old:
            del self.jobs[id]
        return len(old)

    def prune_beyond(self, queue: str, count: int) -> int:
        ended = [job for job in self.jobs.values() if job.queue == queue and job.finished_at is not None]
        newest = sorted(
            (job for job in ended if job.state is not State.DEAD),
            key=lambda job: (job.finished_at, job.id),
            reverse=True,
        )
        for job in newest[count:]:
            del self.jobs[job.id]
        return len(newest[count:])

    def _in(self, state: State) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state is state]


def _anew(job: ModelJob, token: int, now: int) -> ModelJob:
    return replace(
        job,
        state=State.READY,
        run_at=now,
        token=token,
        failures=0,
        suspect=0,
        finished_at=None,
        expires_at=None,
        cancel_at=None,
        reason=None,
    )
