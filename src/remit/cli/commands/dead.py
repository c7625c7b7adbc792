"""`remit dead`: dead letters, the jobs that gave up; replayed by a person, never by themselves."""

from __future__ import annotations

import sys
from dataclasses import asdict, astuple, dataclass
from typing import Annotated

from cyclopts import App, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import named, opened
from remit.cli.exits import Refused, UsageError
from remit.cli.options import After, AppPath, AsJson, DomainName, JobName, Limit, QueueName, ReasonText
from remit.cli.output import console, say, tell
from remit.cli.paging import gather
from remit.cli.views import dead_letters
from remit.cli.wording import count

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
        found, after = gather(
            lambda limit, after: face.jobs.list(state="dead", **asdict(filters), limit=limit, after=after), limit, after
        )
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
    dry_run: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Say how many would be replayed, and do nothing.")
    ] = False,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative=(), show_default=False, help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Make dead letters ready again, with all their attempts: some by id, or all that match, oldest first."""
    words = list(ids)
    path = named(words.pop(0) if words and ":" in words[0] else app)
    filters = _Filters(job, queue, domain, reason)
    if words and any(astuple(filters)):
        raise UsageError("ids and filters together: name the dead letters, or describe them")
    with opened(path) as (_, face):
        chosen = _replay_some(face, words, dry_run) if words else None
        done = _replay_all(face, filters, dry_run=dry_run, ask=not yes) if chosen is None else chosen
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


def _replay_all(face: SyncRemit, filters: _Filters, *, dry_run: bool, ask: bool) -> int:
    total = filters.count(face)
    if dry_run or not total:
        return total
    if ask:
        _confirm(total)
    err = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("replaying", total=total)
        return face.jobs.replay(**asdict(filters), progress=lambda done: progress.update(task, completed=done))


def _confirm(total: int) -> None:
    """Raises `Refused`, and `UsageError` where nobody can be asked."""
    question = f"Replay {count(total, 'dead letter')}?"
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is nobody to ask here: say --yes, or look first with --dry-run")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was replayed")
