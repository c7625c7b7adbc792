"""`remit dead`: dead letters, the jobs that gave up; replayed by a person, never by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import named, opened
from remit.cli.asking import confirm
from remit.cli.bars import bar
from remit.cli.exits import UsageError
from remit.cli.moments import moment_of
from remit.cli.options import After, AppPath, AsJson, DomainName, JobName, Limit, QueueName, ReasonText, Yes
from remit.cli.output import say, tell
from remit.cli.paging import gather
from remit.cli.views.jobs import dead_letters
from remit.cli.views.subscriptions import pending
from remit.cli.wording import count
from remit.jobs.model import JobRecord

group = App(name="dead", help="List dead letters, and replay them.", help_epilogue="")


@group.command(name="list", usage="Usage: remit dead list [APP] [OPTIONS]")
def list_(
    app: AppPath = None,
    *,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    reason: ReasonText = None,
    limit: Limit = 50,
    after: After = None,
    json: AsJson = False,
) -> None:
    """List dead letters, newest first, with the reason of their death."""
    filters = _Filters(job, queue, domain, reason)
    with opened(app) as (_, face):

        def page(limit: int, after: str | None) -> tuple[Sequence[JobRecord], str | None]:
            one = face.jobs.list(
                state="dead", job=job, queue=queue, domain=domain, reason=reason, limit=limit, after=after
            )
            return one.jobs, one.after

        found, after = gather(page, limit, after)
        total = filters.count(face)
    if json:
        tell({"dead": [records.job(each) for each in found], "after": after, "total": total})
        return
    if not found:
        say("no dead letters" + (" that match" if any(astuple(filters)) else ""))
        return
    say(dead_letters(found))
    if after is not None:
        say(Text(f"{len(found):,} of {count(total, 'dead letter')}; more: --after {after}", "dim"))


@dataclass(frozen=True, slots=True)
class _Filters:
    """Which dead letters are meant."""

    job: str | None
    queue: str | None
    domain: str | None
    reason: str | None
    dead_before: datetime | None = None

    def count(self, face: SyncRemit) -> int:
        return face.jobs.count_dead(**asdict(self))


@group.command(usage="Usage: remit dead replay [APP] [ID...] [OPTIONS]")
def replay(
    *ids: Annotated[str, Parameter(name="ID", help="These; without an id, all that match the filters.")],
    app: AppPath = None,
    job: JobName = None,
    queue: QueueName = None,
    domain: DomainName = None,
    reason: ReasonText = None,
    dead_before: Annotated[
        str | None, Parameter(metavar="WHEN", help="Only what died before: 10min, 7d, 2026-01-31, 2026-01-31T13:00Z.")
    ] = None,
    in_flight: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1),
            metavar="N",
            help="Let no more than N of them be under way at once; waits for workers to end them.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Say how many would be replayed, and do nothing.")
    ] = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Make dead letters ready again, with all their attempts: some by id, or all that match, oldest first."""
    words = list(ids)
    path = named(words.pop(0) if words and ":" in words[0] else app)
    filters = _Filters(job, queue, domain, reason, moment_of("--dead-before", dead_before))
    if words and any(astuple(filters)):
        raise UsageError("ids and filters together: name the dead letters, or describe them")
    if words and in_flight:
        raise UsageError("ids and --in-flight together: it bounds the replay of all that match filters")
    with opened(path) as (_, face):
        if words:
            done = _replay_some(face, words, dry_run)
        else:
            done = _replay_all(face, filters, in_flight, dry_run=dry_run, ask=not yes)
    if json:
        tell({"matching" if dry_run else "replayed": done})
    elif dry_run:
        say(f"{count(done, 'dead letter')} would be replayed")
    else:
        say(f"{count(done, 'dead letter')} replayed" if done else "no dead letters to replay")


def _replay_some(face: SyncRemit, ids: list[str], dry_run: bool) -> int:
    if dry_run:
        return sum(face.jobs.get(id).state == "dead" for id in ids)
    return sum(face.jobs.replay(id) for id in ids)


def _replay_all(face: SyncRemit, filters: _Filters, in_flight: int | None, *, dry_run: bool, ask: bool) -> int:
    total = filters.count(face)
    if not total:
        return total
    for warning in _warnings(face, filters, in_flight):
        say(Text(f"warning: {warning}", "yellow"), stderr=True)
    if dry_run:
        return total
    if ask:
        confirm(
            f"Replay {count(total, 'dead letter')}?",
            refusal="nothing was replayed",
            otherwise="say --yes, or look first with --dry-run",
        )
    with bar("replaying", total) as told:
        return face.jobs.replay(**asdict(filters), in_flight=in_flight, progress=lambda done: told(done, None))


def _warnings(face: SyncRemit, filters: _Filters, in_flight: int | None) -> list[str]:
    """What will not run when it is replayed."""
    found = [
        f"{count(pending(each, 'dead'), 'dead delivery', 'dead deliveries')} to {each.name}, which is declared no "
        "more: replayed, they wait until its handler is back"
        for each in face.subscriptions.list()
        if each.vanished
        and pending(each, "dead")
        and filters.job in (None, each.name)
        and filters.queue in (None, each.queue)
        and filters.domain in (None, each.domain)
    ]
    if in_flight and not face.workers.list():
        found.append("no worker is there to run them: --in-flight waits for one")
    return found
