"""`remit jobs`: show and manage jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import named, opened, whoever
from remit.cli.asking import confirm
from remit.cli.bars import bar
from remit.cli.each import each
from remit.cli.exits import UsageError
from remit.cli.filters import check_names, job_filter
from remit.cli.options import (
    After,
    AppPath,
    AsJson,
    By,
    Correlation,
    DomainName,
    DryRun,
    Failing,
    JobIds,
    JobName,
    Label,
    Limit,
    QueueName,
    ReasonText,
    RequestedBy,
    Scope,
    Since,
    StateName,
    Until,
    Yes,
)
from remit.cli.output import say, tell
from remit.cli.paging import gather
from remit.cli.views.jobs import job_sheet, job_table
from remit.cli.wording import count
from remit.client import JobFilter
from remit.errors import EventNotFound
from remit.jobs.model import JobRecord
from remit.jobs.states import FINAL, State

group = App(name="jobs", help="List jobs, show one, retry, cancel and delete them.", help_epilogue="")

InState: TypeAlias = Annotated[StateName | None, Parameter(name="--state", help="Only jobs in this state.")]


@group.command(name="list", usage="Usage: remit jobs list [APP] [OPTIONS]")
def list_(
    app: AppPath = None,
    *,
    state: InState = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    label: Label = None,
    requested_by: RequestedBy = None,
    reason: ReasonText = None,
    correlation: Correlation = None,
    scope: Scope = None,
    since: Since = None,
    until: Until = None,
    failed: Failing = False,
    deleted: Annotated[bool, Parameter(negative=(), show_default=False, help="Include deleted jobs.")] = False,
    limit: Limit = 50,
    after: After = None,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    filter = job_filter(
        state=state,
        job=job,
        queue=queue,
        domain=domain,
        label=label,
        requested_by=requested_by,
        reason=reason,
        correlation=correlation,
        scope=scope,
        since=since,
        until=until,
        failing=failed,
    )
    if deleted:
        filter["deleted"] = True
    with opened(app) as (application, face):

        def page(limit: int, after: str | None) -> tuple[Sequence[JobRecord], str | None]:
            one = face.jobs.list(limit=limit, after=after, **filter)
            return one.jobs, one.after

        found, after = gather(page, limit, after)
        if not found:
            check_names(application, face, filter)
    if json:
        tell({"jobs": [records.job(each) for each in found], "after": after})
        return
    say(job_table(found) if found else _nothing(filter))
    if after is not None:
        say(Text(f"more: --after {after}", "dim"))


def _nothing(filter: JobFilter) -> str:
    """The message that nothing was found, with the filter."""
    state = filter.get("state")
    options = {"failing": "--failed", "requested_by": "--requested-by"}
    where = [
        f"{options.get(name, f'--{name}')}" + ("" if value is True else f" {value}")
        for name, value in filter.items()
        if name != "state"
    ]
    return " ".join(["no", *([state] if state else []), "jobs", *(["with", *where] if where else [])])


@group.command(usage="Usage: remit jobs show [APP] ID... [OPTIONS]")
def show(
    *ids: JobIds,
    app: AppPath = None,
    traceback: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="The traceback of every failed attempt, not only of the last."),
    ] = False,
    json: AsJson = False,
) -> int:
    """Show the details of jobs: times, payload, result, failed attempts, log."""

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


@group.command(usage="Usage: remit jobs retry [APP] [ID...] [OPTIONS]")
def retry(
    *ids: JobIds,
    app: AppPath = None,
    state: InState = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    label: Label = None,
    requested_by: RequestedBy = None,
    reason: ReasonText = None,
    correlation: Correlation = None,
    scope: Scope = None,
    since: Since = None,
    until: Until = None,
    failed: Failing = False,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> int:
    """Make scheduled, dead, cancelled or skipped jobs ready now, with all their attempts: by id, or all that match."""
    filter = job_filter(
        state=state,
        job=job,
        queue=queue,
        domain=domain,
        label=label,
        requested_by=requested_by,
        reason=reason,
        correlation=correlation,
        scope=scope,
        since=since,
        until=until,
        failing=failed,
    )
    person = by or whoever()
    if not filter and not dry_run:
        return each(ids, app, json, lambda face, id: face.jobs.retry(id, by=person), _write_state, records.job)
    return _many(
        ids,
        app,
        filter,
        _Bulk("retry", "retried", (State.SCHEDULED, State.DEAD, State.CANCELLED, State.SKIPPED)),
        lambda face, told: face.jobs.retry_many(by=person, progress=told, **filter),
        dry_run=dry_run,
        yes=yes,
        json=json,
    )


@group.command(usage="Usage: remit jobs cancel [APP] [ID...] [OPTIONS]")
def cancel(
    *ids: JobIds,
    app: AppPath = None,
    state: InState = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    label: Label = None,
    requested_by: RequestedBy = None,
    correlation: Correlation = None,
    scope: Scope = None,
    since: Since = None,
    until: Until = None,
    failed: Failing = False,
    reason: Annotated[str | None, Parameter(help="The reason, for the record.")] = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> int:
    """Cancel waiting jobs, and ask running ones to stop: by id, or all that match."""
    filter = job_filter(
        state=state,
        job=job,
        queue=queue,
        domain=domain,
        label=label,
        requested_by=requested_by,
        correlation=correlation,
        scope=scope,
        since=since,
        until=until,
        failing=failed,
    )
    person = by or whoever()
    if not filter and not dry_run:
        return each(
            ids, app, json, lambda face, id: face.jobs.cancel(id, reason=reason, by=person), _write_state, records.job
        )
    return _many(
        ids,
        app,
        filter,
        _Bulk("cancel", "cancelled, or asked to stop", (State.SCHEDULED, State.READY, State.RUNNING)),
        lambda face, told: face.jobs.cancel_many(why=reason, by=person, progress=told, **filter),
        dry_run=dry_run,
        yes=yes,
        json=json,
    )


@group.command(usage="Usage: remit jobs delete [APP] [ID...] [OPTIONS]")
def delete(
    *ids: JobIds,
    app: AppPath = None,
    state: InState = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    label: Label = None,
    requested_by: RequestedBy = None,
    reason: ReasonText = None,
    correlation: Correlation = None,
    scope: Scope = None,
    since: Since = None,
    until: Until = None,
    purge: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Remove them at once, with their failures and logs.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> int:
    """Hide jobs from lists, by id or all that match; retention removes them. Waiting ones are cancelled for good."""
    filter = job_filter(
        state=state,
        job=job,
        queue=queue,
        domain=domain,
        label=label,
        requested_by=requested_by,
        reason=reason,
        correlation=correlation,
        scope=scope,
        since=since,
        until=until,
    )
    gone = "removed" if purge else "hidden"
    if filter or dry_run:
        return _many(
            ids,
            app,
            filter,
            _Bulk("delete", gone, tuple(state for state in State if state is not State.RUNNING)),
            lambda face, told: face.jobs.delete_many(purge=purge, progress=told, **filter),
            dry_run=dry_run,
            yes=yes,
            json=json,
        )

    def act(face: SyncRemit, id: str) -> dict[str, str]:
        ended = face.jobs.delete(id, purge=purge) in FINAL
        return {"id": id, "done": gone if ended else f"cancelled and {gone}"}

    return each(ids, app, json, act, lambda job, _: say(f"{job['id']} {job['done']}"), lambda job: job)


@dataclass(frozen=True, slots=True)
class _Bulk:
    """An operation on all matching jobs: its name, its result, and the states to which it applies."""

    verb: str
    done: str
    states: tuple[State, ...]


def _many(
    words: tuple[str, ...],
    app: str | None,
    filter: JobFilter,
    bulk: _Bulk,
    act: Callable[[SyncRemit, Callable[[int], None]], int],
    *,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> int:
    """Apply it to all matching jobs, after a question; with `dry_run`, count them."""
    ids = list(words)
    path = named(ids.pop(0) if ids and ":" in ids[0] else app)
    if ids:
        raise UsageError("ids together with filters or --dry-run: give either the ids of the jobs, or filters")
    if not filter:
        raise UsageError(f"remit jobs {bulk.verb} --dry-run counts what filters match: name at least one filter")
    with opened(path) as (application, face):
        matching = _count(face, filter, bulk.states)
        if not matching:
            check_names(application, face, filter)
        if dry_run or not matching:
            _report({"matching": matching}, f"{count(matching, 'job')} would be {bulk.done}", json)
            return 0
        if not yes:
            confirm(
                f"{bulk.verb.capitalize()} {count(matching, 'job')}?",
                refusal="nothing was done",
                otherwise="pass --yes, or look first with --dry-run",
            )
        with bar(bulk.verb, matching) as progress:
            done = act(face, lambda number: progress(number, None))
    _report({"done": done}, f"{count(done, 'job')} {bulk.done}", json)
    return 0


def _count(face: SyncRemit, filter: JobFilter, states: tuple[State, ...]) -> int:
    """The number of jobs to which the operation applies: of the state in the filter, or of each of its states."""
    stated = filter.get("state")
    wanted = [stated] if stated else [state.value for state in states]
    conditions: list[JobFilter] = [{**filter, "state": state} for state in wanted if State(state) in states]
    return sum(face.jobs.count(**each) for each in conditions)


def _report(document: dict[str, Any], sentence: str, json: bool) -> None:
    if json:
        tell(document)
    else:
        say(sentence)


def _write_state(record: JobRecord, _: bool) -> None:
    asked = record.state is State.RUNNING and record.cancel_requested_at is not None
    say(f"{record.id} {'asked to stop: it runs' if asked else record.state.value}")
