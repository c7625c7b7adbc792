"""`remit events`: the log of events; retry events that the relay gave up, replay them to a subscription."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import opened
from remit.cli.bars import bar
from remit.cli.each import each
from remit.cli.moments import moment_of
from remit.cli.options import After, AppPath, AsJson, DomainName, EventIds, Limit
from remit.cli.output import say, tell
from remit.cli.paging import gather
from remit.cli.stopping import interruptible
from remit.cli.views.events import event_sheet, event_table
from remit.cli.wording import count
from remit.errors import UnknownSubscription
from remit.outbox.model import EventRecord

group = App(name="events", help="List events, show one, retry it, replay them to a subscription.", help_epilogue="")


@group.command(name="list", usage="Usage: remit events list [APP] [OPTIONS]")
def list_(
    app: AppPath = None,
    *,
    state: Annotated[
        Literal["pending", "unknown", "dispatched", "dead"] | None,
        Parameter(help="Only events in this state: before the relay, not declared here yet, dispatched, or given up."),
    ] = None,
    event: Annotated[str | None, Parameter(metavar="NAME", help="Only this event, e.g. billing.invoice-paid.")] = None,
    domain: DomainName = None,
    limit: Limit = 50,
    after: After = None,
    json: AsJson = False,
) -> None:
    """List the kept events, newest first."""
    with opened(app) as (_, face):

        def page(limit: int, after: str | None) -> tuple[Sequence[EventRecord], str | None]:
            one = face.events.list(state=state, event=event, domain=domain, limit=limit, after=after)
            return one.events, one.after

        found, after = gather(page, limit, after)
    if json:
        tell({"events": [records.event(one) for one in found], "after": after})
        return
    say(event_table(found) if found else _nothing(state, event, domain))
    if after is not None:
        say(Text(f"more: --after {after}", "dim"))


def _nothing(state: str | None, event: str | None, domain: str | None) -> str:
    """The message that nothing was found, with the filter."""
    where = [f"--{name} {value}" for name, value in (("event", event), ("domain", domain)) if value]
    return " ".join(["no", *([state] if state else []), "events", *(["with", *where] if where else [])])


@group.command(usage="Usage: remit events show [APP] ID... [OPTIONS]")
def show(*ids: EventIds, app: AppPath = None, json: AsJson = False) -> int:
    """Show the details of events: envelope, payload, and each delivery with its result."""

    def write(record: EventRecord, first: bool) -> None:
        if not first:
            say("")
        say(event_sheet(record))

    return each(ids, app, json, lambda face, id: face.events.get(id), write, records.whole_event, noun="event")


@group.command(usage="Usage: remit events retry [APP] ID... [OPTIONS]")
def retry(*ids: EventIds, app: AppPath = None, json: AsJson = False) -> int:
    """Return events that the relay failed on, or gave up, to the relay."""

    def act(face: SyncRemit, id: str) -> EventRecord:
        face.events.retry(id)
        return face.events.get(id)

    def write(record: EventRecord, _: bool) -> None:
        say(f"{record.id} {record.state.value}")

    return each(ids, app, json, act, write, records.event, noun="event")


@group.command(usage="Usage: remit events replay [APP] --to SUBSCRIPTION [OPTIONS]")
def replay(
    app: AppPath = None,
    *,
    to: Annotated[
        str, Parameter(name="--to", metavar="SUBSCRIPTION", help="The subscription, e.g. catalog.unlock-downloads.")
    ],
    since: Annotated[
        str | None,
        Parameter(
            metavar="WHEN", help="Only events that were published then or later: 7d, 2026-01-31, 2026-01-31T13:00Z."
        ),
    ] = None,
    until: Annotated[
        str | None, Parameter(metavar="WHEN", help="Only events that were published before: 1h, 2026-01-31.")
    ] = None,
    rate: Annotated[
        float | None, Parameter(validator=Number(gt=0), metavar="N", help="The maximum number of events a second.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Deliver the events of the log to a subscription, in order: to a new or a repaired one.

    Events that were delivered, or are being delivered, are skipped; a stopped replay continues when it is run again.

    An ordered subscription gets no new events meanwhile.
    """
    low, high = moment_of("--since", since), moment_of("--until", until)
    with opened(app) as (application, face):
        to = _receiver(face, to)

        async def replaying(told: Callable[[int, int | None], None]) -> int:
            async with application:
                return await application.events.replay(to=to, since=low, until=high, rate=rate, progress=told)

        with bar("replaying") as told:
            made = interruptible(replaying(told))
    if json:
        tell({"subscription": to, "deliveries": made})
    elif made:
        say(f"{count(made, 'delivery', 'deliveries')} made for {to}")
    else:
        say(f"nothing to deliver: {to} has had, or is getting, all that is kept of its events")


def _receiver(face: SyncRemit, name: str) -> str:
    """The current name of a subscription. Raises `UnknownSubscription` for one that was retired."""
    found = face.subscriptions.get(name)
    if found.retired_at is not None:
        back = "`remit migrate` restores it" if found.declared else "restore its handler, and run `remit migrate`"
        raise UnknownSubscription(f"{found.name} was retired, and gets no events: {back}")
    if found.vanished:
        gone = f"warning: {found.name} is no longer declared: its deliveries wait until its handler is restored"
        say(Text(gone, "yellow"), stderr=True)
    return found.name
