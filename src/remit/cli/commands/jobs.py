"""`remit jobs`: look at jobs and act on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import opened, whoever
from remit.cli.each import each
from remit.cli.options import (
    After,
    AppPath,
    AsJson,
    By,
    DomainName,
    JobIds,
    JobName,
    Limit,
    QueueName,
    ReasonText,
    StateName,
)
from remit.cli.output import say, tell
from remit.cli.paging import gather
from remit.cli.views.jobs import job_sheet, job_table
from remit.errors import EventNotFound
from remit.jobs.model import JobRecord
from remit.jobs.states import FINAL, State

group = App(name="jobs", help="List jobs, show one, retry, cancel and delete them.", help_epilogue="")


@group.command(name="list", usage="Usage: remit jobs list [APP] [OPTIONS]")
def list_(
    app: AppPath = None,
    *,
    state: Annotated[StateName | None, Parameter(help="Only jobs in this state.")] = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    label: Annotated[str | None, Parameter(help="Only jobs with exactly this label.")] = None,
    reason: ReasonText = None,
    deleted: Annotated[bool, Parameter(negative=(), show_default=False, help="Deleted jobs too.")] = False,
    limit: Limit = 50,
    after: After = None,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    filters = {"job": job, "queue": queue, "domain": domain, "label": label, "reason": reason}
    with opened(app) as (_, face):

        def page(limit: int, after: str | None) -> tuple[Sequence[JobRecord], str | None]:
            one = face.jobs.list(state=state, **filters, deleted=deleted, limit=limit, after=after)
            return one.jobs, one.after

        found, after = gather(page, limit, after)
    if json:
        tell({"jobs": [records.job(each) for each in found], "after": after})
        return
    say(job_table(found) if found else _nothing(state, filters))
    if after is not None:
        say(Text(f"more: --after {after}", "dim"))


def _nothing(state: str | None, filters: dict[str, str | None]) -> str:
    """That there is nothing, in the words of the filter."""
    where = [f"--{name} {value}" for name, value in filters.items() if value]
    return " ".join(["no", *([state] if state else []), "jobs", *(["with", *where] if where else [])])


@group.command(usage="Usage: remit jobs show [APP] ID... [OPTIONS]")
def show(
    *ids: JobIds,
    app: AppPath = None,
    traceback: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="The traceback of every failed attempt, not of the last alone."
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Show all that is known about jobs: times, payload, result, failed attempts, log."""

    def write(found: tuple[JobRecord, str | None], first: bool) -> None:
        if not first:
            say("")
        say(job_sheet(*found, traces=traceback))

    return each(ids, app, json, _found, write, lambda found: records.whole_job(*found))


def _found(face: SyncRemit, id: str) -> tuple[JobRecord, str | None]:
    """A job, and the name of the event that it delivers, unless that was purged."""
    job = face.jobs.get(id)
    if job.event is None:
        return job, None
    try:
        return job, face.events.get(job.event).name
    except EventNotFound:
        return job, None


@group.command(usage="Usage: remit jobs retry [APP] ID... [OPTIONS]")
def retry(*ids: JobIds, app: AppPath = None, json: AsJson = False) -> int:
    """Make scheduled, dead, cancelled or skipped jobs ready now, with all their attempts."""
    return each(ids, app, json, lambda face, id: face.jobs.retry(id), _write_state, records.job)


@group.command(usage="Usage: remit jobs cancel [APP] ID... [OPTIONS]")
def cancel(
    *ids: JobIds,
    app: AppPath = None,
    reason: Annotated[str | None, Parameter(help="Why, for the record.")] = None,
    by: By = None,
    json: AsJson = False,
) -> int:
    """Cancel jobs that wait; ask those that run to stop."""
    person = by or whoever()
    return each(
        ids, app, json, lambda face, id: face.jobs.cancel(id, reason=reason, by=person), _write_state, records.job
    )


@group.command(usage="Usage: remit jobs delete [APP] ID... [OPTIONS]")
def delete(
    *ids: JobIds,
    app: AppPath = None,
    purge: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Remove them at once, with their failures and logs.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Hide jobs from lists; their retention removes them in time. Those that wait are cancelled, and never run."""
    gone = "removed" if purge else "hidden"

    def act(face: SyncRemit, id: str) -> dict[str, str]:
        ended = face.jobs.delete(id, purge=purge) in FINAL
        return {"id": id, "done": gone if ended else f"cancelled and {gone}"}

    return each(ids, app, json, act, lambda job, _: say(f"{job['id']} {job['done']}"), lambda job: job)


def _write_state(record: JobRecord, _: bool) -> None:
    asked = record.state is State.RUNNING and record.cancel_requested_at is not None
    say(f"{record.id} {'asked to stop: it runs' if asked else record.state.value}")
