"""`remit dead`: dead letters, replayed by a person, never automatically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import named, opened, whoever
from remit.cli.asking import confirm
from remit.cli.bars import bar
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
    JobName,
    Label,
    Limit,
    QueueName,
    ReasonText,
    RequestedBy,
    Scope,
    Since,
    Until,
    Yes,
)
from remit.cli.output import say, tell
from remit.cli.paging import gather
from remit.cli.views.jobs import dead_letters
from remit.cli.views.subscriptions import pending
from remit.cli.wording import count
from remit.client import JobFilter
from remit.jobs.model import JobRecord

group = App(name="dead", help="List dead letters, and replay them.", help_epilogue="")


@group.command(name="list", usage="Usage: remit dead list [APP] [OPTIONS]")
def list_(
    app: AppPath = None,
    *,
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
    limit: Limit = 50,
    after: After = None,
    json: AsJson = False,
) -> None:
    """List dead letters, newest first, with the reason of their death."""
    filter = job_filter(
        state="dead",
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
    with opened(app) as (application, face):

        def page(limit: int, after: str | None) -> tuple[Sequence[JobRecord], str | None]:
            one = face.jobs.list(limit=limit, after=after, **filter)
            return one.jobs, one.after

        found, after = gather(page, limit, after)
        if not found:
            check_names(application, face, filter)
        total = face.jobs.count(**filter)
    if json:
        tell({"dead": [records.job(each) for each in found], "after": after, "total": total})
        return
    if not found:
        say("no dead letters" + (" that match" if len(filter) > 1 else ""))
        return
    say(dead_letters(found))
    if after is not None:
        say(Text(f"{len(found):,} of {count(total, 'dead letter')}; more: --after {after}", "dim"))


@group.command(usage="Usage: remit dead replay [APP] [ID...] [OPTIONS]")
def replay(
    *ids: Annotated[str, Parameter(name="ID", help="Their ids; without an id, all that match the filters.")],
    app: AppPath = None,
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
    dead_before: Annotated[
        str | None, Parameter(metavar="WHEN", help="Only jobs that died before: 10min, 7d, 2026-01-31T13:00Z.")
    ] = None,
    in_flight: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1),
            metavar="N",
            help="Keep no more than N of them in progress at once; waits for workers to end them.",
        ),
    ] = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Make dead letters ready again, with all their attempts: some by id, or all that match, oldest first."""
    words = list(ids)
    path = named(words.pop(0) if words and ":" in words[0] else app)
    filter = job_filter(
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
        dead_before=dead_before,
    )
    if words and filter:
        raise UsageError("ids and filters together: give either the ids of the dead letters, or filters")
    if words and in_flight:
        raise UsageError("ids and --in-flight together: it bounds the replay of all that match filters")
    person = by or whoever()
    with opened(path) as (application, face):
        if words:
            done = _replay_some(face, words, person, dry_run)
        else:
            done = _replay_all(face, filter, in_flight, person, dry_run=dry_run, ask=not yes)
            if not done:
                check_names(application, face, filter)
    if json:
        tell({"matching" if dry_run else "replayed": done})
    elif dry_run:
        say(f"{count(done, 'dead letter')} would be replayed")
    else:
        say(f"{count(done, 'dead letter')} replayed" if done else "no dead letters to replay")


def _replay_some(face: SyncRemit, ids: list[str], by: str, dry_run: bool) -> int:
    whole = [face.jobs.whole_id(id) for id in ids]
    if dry_run:
        return sum(face.jobs.get(id).state == "dead" for id in whole)
    return sum(face.jobs.replay(id, by=by) for id in whole)


def _replay_all(face: SyncRemit, filter: JobFilter, in_flight: int | None, by: str, *, dry_run: bool, ask: bool) -> int:
    letters: JobFilter = {**filter, "state": "dead"}
    total = face.jobs.count(**letters)
    if not total:
        return total
    for warning in _warnings(face, filter, in_flight):
        say(Text(f"warning: {warning}", "yellow"), stderr=True)
    if dry_run:
        return total
    if ask:
        confirm(
            f"Replay {count(total, 'dead letter')}?",
            refusal="nothing was replayed",
            otherwise="pass --yes, or look first with --dry-run",
        )
    with bar("replaying", total) as progress:
        return face.jobs.replay(by=by, in_flight=in_flight, progress=lambda done: progress(done, None), **letters)


def _warnings(face: SyncRemit, filter: JobFilter, in_flight: int | None) -> list[str]:
    """Dead letters that will not run when they are replayed."""
    found = [
        f"{count(pending(each, 'dead'), 'dead delivery', 'dead deliveries')} to {each.name}, which is no longer "
        "declared: replayed, they wait until its handler is restored"
        for each in face.subscriptions.list()
        if each.vanished
        and pending(each, "dead")
        and filter.get("job") in (None, each.name)
        and filter.get("queue") in (None, each.queue)
        and filter.get("domain") in (None, each.domain)
    ]
    if in_flight and not face.workers.list():
        found.append("no worker is running: --in-flight waits for one")
    return found
