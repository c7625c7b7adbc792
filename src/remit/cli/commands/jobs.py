"""`remit jobs`: look at jobs and act on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.text import Text

from remit.cli import records
from remit.cli.applications import opened, split, whoever
from remit.cli.exits import Exit, complain, exit_of
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
from remit.cli.views import job_sheet, job_table
from remit.errors import RemitError
from remit.jobs.model import JobRecord
from remit.jobs.states import State

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
        found, after = gather(
            lambda limit, after: face.jobs.list(state=state, **filters, deleted=deleted, limit=limit, after=after),
            limit,
            after,
        )
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

    def write(record: JobRecord, first: bool) -> None:
        if not first:
            say("")
        say(job_sheet(record, traces=traceback))

    return _each(ids, app, json, lambda face, id: face.jobs.get(id), write, records.whole_job)


@group.command(usage="Usage: remit jobs retry [APP] ID... [OPTIONS]")
def retry(*ids: JobIds, app: AppPath = None, json: AsJson = False) -> int:
    """Make scheduled, dead, cancelled or skipped jobs ready now, with all their attempts."""
    return _each(ids, app, json, lambda face, id: face.jobs.retry(id), _write_state)


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
    return _each(ids, app, json, lambda face, id: face.jobs.cancel(id, reason=reason, by=person), _write_state)


@group.command(usage="Usage: remit jobs delete [APP] ID... [OPTIONS]")
def delete(
    *ids: JobIds,
    app: AppPath = None,
    purge: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Remove them at once, with their failures and logs.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Hide jobs that do not run from lists; their retention removes them in time."""

    def act(face: Any, id: str) -> str:
        face.jobs.delete(id, purge=purge)
        return id

    done = "removed" if purge else "deleted"
    return _each(ids, app, json, act, lambda id, _: say(f"{id} {done}"), lambda id: {"id": id, "done": done})


def _write_state(record: JobRecord, _: bool) -> None:
    asked = record.state is State.RUNNING and record.cancel_requested_at is not None
    say(f"{record.id} {'asked to stop: it runs' if asked else record.state.value}")


def _each(
    words: tuple[str, ...],
    app: str | None,
    json: bool,
    act: Callable[[Any, str], Any],
    write: Callable[[Any, bool], None],
    document: Callable[[Any], dict[str, Any]] = records.job,
) -> int:
    """Do something to each id. One that fails is said and holds up no other; its status becomes ours."""
    path, ids = split(words, app, "the id of a job")
    status, done = Exit.OK, []
    with opened(path) as (_, face):
        for id in ids:
            try:
                result = act(face, id)
            except RemitError as error:
                complain(error)
                status = status or exit_of(error)
                continue
            done.append(document(result))
            if not json:
                write(result, len(done) == 1)
    if json:
        tell({"jobs": done})
    return status
