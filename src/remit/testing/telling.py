"""A description of the events and jobs in a store, for a test whose wait failed."""

from __future__ import annotations

from datetime import UTC, datetime

from remit.jobs.model import JobRecord
from remit.jobs.states import State
from remit.outbox.model import EventRecord
from remit.testing.watches import Watch

_MOST = 20
_LONGEST = 120


def story(seen: Watch) -> list[str]:
    """Every event with its deliveries, and every job with its state and its last error, in lines."""
    events, jobs = seen.event_records(), seen.job_records()
    lines = ["  events:" if events else "  no event was published"]
    for event in events[-_MOST:]:
        lines += _event(seen.event(event.id))
    lines.append("  jobs:" if jobs else "  no job was enqueued")
    for job in jobs[-_MOST:]:
        lines += _job(seen.job(job.id) if job.failures or job.state is not State.COMPLETED else job)
    return lines


def _event(event: EventRecord) -> list[str]:
    lines = [f"    {event.name} {_short(event.payload_text)}: {event.state}"]
    if event.error:
        lines.append(f"      the relay failed: {_short(event.error)}")
    for each in event.records:
        why = f": {_short(each.reason)}" if each.reason else ""
        lines.append(f"      to {each.subscription}: {each.state}{why}")
    return lines


def _job(job: JobRecord) -> list[str]:
    line = f"    {job.name} {_short(job.payload_text or '')}".rstrip() + f": {job.state}"
    if job.failures:
        line += f", {job.failures} of {job.attempts} attempts failed"
    if job.state is State.SCHEDULED:
        line += f", due in {max(0.0, (job.run_at - datetime.now(UTC)).total_seconds()):.1f} s"
    if job.reason:
        line += f": {_short(job.reason)}"
    lines = [line]
    if job.errors:
        last = job.errors[-1]
        lines.append(f"      {last.kind}: {_short(last.message)}")
        lines += [f"        {each}" for each in _place(last.traceback)]
    return lines


def _place(traceback: str | None) -> list[str]:
    """The last line of code of a traceback."""
    places = [line.strip() for line in (traceback or "").splitlines() if line.lstrip().startswith("File ")]
    return places[-1:]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
