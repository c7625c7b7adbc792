"""Records as people see them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, facts, table
from remit.cli.wording import ago, clock, line, moment, rate, span, visible
from remit.client import QueueRecord
from remit.jobs.model import FailureRecord, JobRecord
from remit.jobs.states import State
from remit.runtime.operations import LeaderRecord, WorkerRecord

_COLOURS = {
    State.SCHEDULED: "blue",
    State.READY: "cyan",
    State.RUNNING: "yellow",
    State.COMPLETED: "green",
    State.SKIPPED: "green",
    State.CANCELLED: "magenta",
    State.DEAD: "red",
}
_QUIET = "dim"
_WIDE = 110
"""Columns of a terminal from which on a reason of death has room beside the rest."""


def _state(state: State) -> Text:
    return Text(state.value, _COLOURS[state])


def _number(value: int, style: str = "") -> Text:
    return Text(f"{value:,}", style if value else _QUIET)


# Jobs


def job_table(jobs: Sequence[JobRecord]) -> Table:
    """Jobs, one a line; the note is what somebody should know next."""
    now = datetime.now(UTC)
    columns = (
        Column("ID"),
        Column("STATE"),
        Column("JOB", least=20, folds=True),
        Column("TRY", 3, justify="right"),
        Column("WHEN", 4),
        Column("QUEUE", 2),
        Column("NOTE", 1, least=16),
    )
    rows = [
        (
            job.id,
            _state(job.state),
            _versioned(job.name, job.version),
            f"{job.attempt}/{job.attempts}",
            _when(job, now),
            job.queue,
            line(job.reason or job.label or ""),
        )
        for job in jobs
    ]
    return table(columns, rows, console().width)


def dead_letters(jobs: Sequence[JobRecord]) -> RenderableType:
    """Dead letters, with why they died; in a narrow terminal, the reason stands below."""
    now, width = datetime.now(UTC), console().width
    heads = [
        (job.id, _versioned(job.name, job.version), ago(job.finished_at or job.run_at, now), job.queue) for job in jobs
    ]
    reasons = [line(job.reason or "") for job in jobs]
    if width < _WIDE:
        lines = [[Text("  ".join(head[:3])), _indented(reason)] for head, reason in zip(heads, reasons, strict=True)]
        return Group(*(part for pair in lines for part in pair))
    columns = (
        Column("ID"),
        Column("JOB", least=20, folds=True),
        Column("DIED"),
        Column("QUEUE", 1),
        Column("REASON", least=24),
    )
    return table(columns, [(*head, reason) for head, reason in zip(heads, reasons, strict=True)], width)


def _versioned(name: str, version: int) -> str:
    return name if version == 1 else f"{name} v{version}"


def _when(job: JobRecord, now: datetime) -> str:
    match job.state:
        case State.SCHEDULED:
            return ago(job.run_at, now) if job.run_at > now else "due"
        case State.READY:
            return f"for {span((now - job.run_at).total_seconds())}"
        case State.RUNNING:
            return f"for {span((now - (job.claimed_at or now)).total_seconds())}"
        case _:
            return ago(job.finished_at or job.run_at, now)


def job_sheet(job: JobRecord, *, traces: bool) -> RenderableType:
    """One job, with all that is known about it."""
    parts: list[RenderableType] = [facts([pair for pair in _job_facts(job) if pair[1] not in (None, "")])]
    for title, text in (("payload", _pretty(job.payload_text)), ("result", _pretty(job.result_text))):
        if text is not None:
            parts += [Text(f"\n{title}", "bold"), _indented(text)]
    if job.errors:
        parts.append(Text("\nfailed attempts", "bold"))
        for failure in job.errors:
            parts += _failure(failure, traces=traces or failure is job.errors[-1])
    if job.logs:
        parts.append(Text("\nlog", "bold"))
        parts += [
            _indented(f"{clock(each.at)}  {logging.getLevelName(each.level):<7}  {each.message}") for each in job.logs
        ]
    return Group(*parts)


def _job_facts(job: JobRecord) -> Iterable[tuple[str | Text, Any]]:
    yield "id", job.id
    yield "job", _versioned(job.name, job.version)
    yield "state", _state(job.state)
    yield "reason", line(job.reason or "")
    yield "queue", job.queue
    yield "domain", job.domain
    yield "priority", str(job.priority) if job.priority else None
    yield "attempts", f"{job.failures} of {job.attempts} failed" if job.failures else f"none of {job.attempts} failed"
    yield "suspect", "it was running when its worker died" if job.suspect else None
    yield "label", line(job.label or "")
    yield "requested by", _person(job)
    yield "created", moment(job.created_at)
    yield "due", moment(job.run_at) if job.state in (State.SCHEDULED, State.READY) else None
    yield "claimed", moment(job.claimed_at) if job.claimed_at else None
    yield "worker", job.worker
    yield "ended", moment(job.finished_at) if job.finished_at else None
    yield "expires", moment(job.expires_at) if job.expires_at and not job.state.is_final else None
    yield "asked to stop", moment(job.cancel_requested_at) if job.cancel_requested_at and job.worker else None
    yield "cancelled by", line(job.cancelled_by or "")
    yield "deleted", moment(job.deleted_at) if job.deleted_at else None
    yield "correlation", job.correlation if job.correlation != job.id else None
    yield "caused by", job.causation


def _person(job: JobRecord) -> str:
    """Who asked for it, in one line."""
    try:
        person = job.requested_by
    except ValueError:
        person = job.requested_by_text
    return line(", ".join(map(str, person.values())) if isinstance(person, dict) else str(person or ""))


def _pretty(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _failure(failure: FailureRecord, *, traces: bool) -> list[RenderableType]:
    head = Text.assemble(
        f"  {failure.attempt}  {clock(failure.at)}  ", (visible(failure.kind), "red"), f": {visible(failure.message)}"
    )
    if not traces or not failure.traceback:
        return [head]
    return [head, _indented(failure.traceback, 5, _QUIET)]


def _indented(text: str, by: int = 2, style: str = "") -> RenderableType:
    return Padding(Text(visible(text).rstrip(), style), (0, 0, 0, by), expand=False)


# Queues


def queue_table(queues: Sequence[QueueRecord], slots: dict[str, int] | None = None) -> Table:
    """Queues, one a line, with what they did in the last seconds."""
    columns = (
        Column("QUEUE", least=20, folds=True),
        Column("READY", justify="right"),
        Column("OLDEST", 4, justify="right"),
        Column("SCHEDULED", 3, justify="right"),
        Column("RUNNING", justify="right"),
        Column("LONGEST", 1, justify="right"),
        Column("DEAD", justify="right"),
        Column("DONE", 5, justify="right"),
        Column("", 2),
    )
    return table(columns, [_queue_row(each, slots or {}) for each in queues], console().width)


def _queue_row(queue: QueueRecord, slots: dict[str, int]) -> tuple[str | Text, ...]:
    running = f"{queue.running:,}/{slots[queue.name]:,}" if slots.get(queue.name) else f"{queue.running:,}"
    return (
        queue.name,
        _number(queue.ready, "cyan"),
        _age(queue.oldest_ready),
        _number(queue.scheduled),
        Text(running, "yellow" if queue.running else _QUIET),
        _age(queue.longest_run),
        _number(queue.dead, "red"),
        Text(rate(queue.rate), "green" if queue.rate else _QUIET),
        _paused(queue),
    )


def _age(seconds: float | None) -> Text:
    return Text("-", _QUIET) if seconds is None else Text(span(max(0.0, seconds)))


def _paused(queue: QueueRecord) -> Text:
    if queue.paused_at is None:
        return Text("")
    by = f" by {line(queue.paused_by)}" if queue.paused_by else ""
    return Text(f"paused{by}, {ago(queue.paused_at)}", "magenta")


# Workers


def worker_table(workers: Sequence[WorkerRecord], leaders: Sequence[LeaderRecord]) -> Table:
    """Workers, one a line; what troubles them stands at the end."""
    roles: dict[str, list[str]] = {}
    for leader in leaders:
        roles.setdefault(leader.holder, []).append(leader.role)
    now = datetime.now(UTC)
    columns = (
        Column("ID"),
        Column("PROCESS", least=16, folds=True),
        Column("RUNNING", justify="right"),
        Column("SEEN", 4),
        Column("UP", 3),
        Column("VERSION", 1),
        Column("HEALTH", 5),
    )
    rows = [
        (
            worker.id,
            f"{worker.host}:{worker.pid}",
            f"{worker.running:,}/{slots_of(worker):,}",
            ago(worker.seen_at, now),
            span((now - worker.started_at).total_seconds()),
            str(worker.about.get("version", "?")),
            _health(worker, roles.get(worker.id, [])),
        )
        for worker in workers
    ]
    return table(columns, rows, console().width)


def slots_of(worker: WorkerRecord) -> int:
    """How many jobs it may run at once."""
    return sum(worker.about.get("queues", {}).values())


def _health(worker: WorkerRecord, roles: Sequence[str]) -> Text:
    said = [f"leads: {', '.join(roles)}"] if roles else []
    if unknown := worker.health.get("unknown"):
        said.append(f"does not know {', '.join(unknown)}")
    trouble = worker.health.get("trouble", {})
    said += [f"{part}: {what}" for part, what in trouble.items()]
    text = "; ".join(line(each) for each in said)
    return Text(text or "ok", "red" if trouble else "green")
