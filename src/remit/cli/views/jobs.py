"""Jobs for people: one per line, or the details of one."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, facts, table
from remit.cli.views.cells import QUIET, WIDE, indented, pretty, state, versioned
from remit.cli.wording import ago, clock, line, moment, span, visible
from remit.jobs.model import FailureRecord, JobRecord
from remit.jobs.states import State


def job_table(jobs: Sequence[JobRecord]) -> Table:
    """Jobs, one per line; the note is the most important further information."""
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
            state(job.state),
            versioned(job.name, job.version),
            f"{job.attempt}/{job.attempts}",
            _when(job, now),
            job.queue,
            line(job.reason or ("" if job.state.is_final else job.last_error) or job.label or ""),
        )
        for job in jobs
    ]
    return table(columns, rows, console().width)


def dead_letters(jobs: Sequence[JobRecord]) -> RenderableType:
    """Dead letters, with the reason of their death; in a narrow terminal, the reason is below."""
    now, width = datetime.now(UTC), console().width
    heads = [
        (job.id, versioned(job.name, job.version), ago(job.finished_at or job.run_at, now), job.queue) for job in jobs
    ]
    reasons = [line(job.reason or "") for job in jobs]
    if width < WIDE:
        lines = [[Text("  ".join(head[:3])), indented(reason)] for head, reason in zip(heads, reasons, strict=True)]
        return Group(*(part for pair in lines for part in pair))
    columns = (
        Column("ID"),
        Column("JOB", least=20, folds=True),
        Column("DIED"),
        Column("QUEUE", 1),
        Column("REASON", least=24),
    )
    return table(columns, [(*head, reason) for head, reason in zip(heads, reasons, strict=True)], width)


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


def job_sheet(job: JobRecord, event: str | None, *, traces: bool) -> RenderableType:
    """The details of one job; `event` is the name of the event that it delivers, if that still exists."""
    parts: list[RenderableType] = [facts([pair for pair in _job_facts(job, event) if pair[1] not in (None, "")])]
    for title, text in (("payload", pretty(job.payload_text)), ("result", pretty(job.result_text))):
        if text is not None:
            parts += [Text(f"\n{title}", "bold"), indented(text)]
    if job.errors:
        parts.append(Text("\nfailed attempts", "bold"))
        for failure in job.errors:
            parts += _failure(failure, traces=traces or failure is job.errors[-1])
    if job.logs:
        parts.append(Text("\nlog", "bold"))
        parts += [
            indented(f"{clock(each.at)}  {logging.getLevelName(each.level):<7}  {each.message}") for each in job.logs
        ]
    return Group(*parts)


def _job_facts(job: JobRecord, event: str | None) -> Iterable[tuple[str | Text, Any]]:
    yield "id", job.id
    if job.event is None:
        yield "job", versioned(job.name, job.version)
    else:
        yield "delivery of", f"{versioned(event, job.version) if event else 'an event that was purged,'} {job.event}"
        yield "subscription", job.name
    yield "state", state(job.state)
    yield "reason", line(job.reason or "")
    yield "queue", job.queue
    yield "domain", job.domain
    yield "priority", str(job.priority) if job.priority else None
    yield "attempts", f"{job.failures} of {job.attempts} failed" if job.failures else f"none of {job.attempts} failed"
    yield "timeout", _timeout(job.timeout)
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
    yield "caused by", job.causation if job.causation != job.event else None


def _timeout(seconds: float | None) -> str | None:
    """The timeout set by the call."""
    if seconds is None:
        return None
    return "none" if seconds == math.inf else f"{seconds:g} s"


def _person(job: JobRecord) -> str:
    """The requester, in one line."""
    try:
        person = job.requested_by
    except ValueError:
        person = job.requested_by_text
    return line(", ".join(map(str, person.values())) if isinstance(person, dict) else str(person or ""))


def _failure(failure: FailureRecord, *, traces: bool) -> list[RenderableType]:
    head = Text.assemble(
        f"  {failure.attempt}  {clock(failure.at)}  ", (visible(failure.kind), "red"), f": {visible(failure.message)}"
    )
    if not traces or not failure.traceback:
        return [head]
    return [head, indented(failure.traceback, 5, QUIET)]
