"""The start-up messages of a worker: its identity, its jobs, and warnings with their remedies."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import remit
from remit import schema
from remit.app import Remit
from remit.catalog.policies import FOREVER
from remit.cli.output import facts
from remit.cli.views.cells import versioned
from remit.cli.views.subscriptions import differing, pending
from remit.cli.wording import ago, count, line, span
from remit.db.transaction import Role, Transaction
from remit.jobs import operations
from remit.jobs.model import moment
from remit.outbox import operations as outbox
from remit.outbox.model import Differences, OutboxRecord, SubscriptionRecord
from remit.runtime.duties.registrar import differences
from remit.runtime.worker import Worker

SHORT_LEASE = 5.0
"""Seconds; below, an ordinary pause of a machine may cost a worker its runs."""


@dataclass(frozen=True, slots=True)
class Banner:
    """The facts about one worker."""

    store: str
    schema_version: int
    worker: str
    process: str
    lease: float
    grace: float
    queues: dict[str, int]
    jobs: dict[str, list[str]]
    subscriptions: list[str]
    keep: float
    outbox: OutboxRecord
    publishes: bool
    """Whether the application declares any event."""
    processes: int = 1
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For a log in JSON."""
        return {
            "version": remit.__version__,
            "store": self.store,
            "schema_version": self.schema_version,
            "worker": self.worker,
            "processes": self.processes,
            "lease": self.lease,
            "grace": self.grace,
            "queues": self.queues,
            "jobs": sorted(job for jobs in self.jobs.values() for job in jobs),
            "subscriptions": self.subscriptions,
            "events_kept_seconds": self.keep if self.keep < FOREVER else None,
            "events_pending": self.outbox.pending,
            "warnings": self.warnings,
        }

    def screen(self) -> RenderableType:
        """For people."""
        head = Text.assemble((f"remit {remit.__version__}", "bold"), f"  worker {self.worker}")
        pairs: list[tuple[str | Text, Any]] = [
            ("  store", f"{self.store}, schema version {self.schema_version}"),
            ("  process", self.process + (f", the first of {self.processes}" if self.processes > 1 else "")),
            ("  lease", f"{self.lease:g} s; runs get {self.grace:g} s to end at a stop"),
            ("  queues", self._queues() if self.queues else "none: no domain of this application declares a job"),
        ]
        if self.publishes or self.subscriptions or self.outbox.pending or self.outbox.unknown:
            pairs.append(("  events", self._events()))
        pairs += [(Text("  warning", "yellow"), warning) for warning in self.warnings]
        return Group(head, facts(pairs))

    def _events(self) -> str:
        """The work of the relay, in one line."""
        heard = count(len(self.subscriptions), "subscription") if self.subscriptions else "no subscriptions"
        kept = f"{span(self.keep)} after their last delivery" if self.keep < FOREVER else "for ever"
        waiting = f"; {count(self.outbox.pending, 'event')} pending" if self.outbox.pending else ""
        waiting += f"; {count(self.outbox.unknown, 'unknown event')}" if self.outbox.unknown else ""
        return f"{heard}; relayed here, kept {kept}{waiting}"

    def _queues(self) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(overflow="fold")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(overflow="fold")
        for queue, slots in self.queues.items():
            grid.add_row(queue, count(slots, "slot"), ", ".join(self.jobs.get(queue, [])))
        return grid


async def examine(app: Remit, worker: Worker, processes: int) -> Banner:
    """Query the store and the catalog, after the schema check and the import of the handlers."""
    database = app.store.database(Role.CLIENT)
    try:
        known = await database.run(lambda tx: _subscriptions(app, tx), atomic=False)
        others = await database.run(lambda tx: differences(tx, app.catalog), atomic=False)
        gone = {one.name for one in known if one.vanished}
        warnings = await database.run(lambda tx: _work_warnings(app, gone, tx), atomic=False)
        waiting = await database.run(outbox.outbox, atomic=False)
    finally:
        await database.close()
    served = worker.settings.served(app.catalog.queues)
    jobs: dict[str, list[str]] = {}
    for each in app.catalog.lines.values():
        if each.queue.name not in served:
            continue
        jobs.setdefault(each.queue.name, []).append(versioned(each.name, each.version))
    return Banner(
        store=app.store.describe(),
        schema_version=schema.latest(app.store.dialect),
        worker=worker.id,
        process=f"{socket.gethostname()}:{os.getpid()}",
        lease=worker.settings.lease,
        grace=worker.settings.grace,
        queues={name: queue.concurrency for name, queue in app.catalog.queues.items() if name in served},
        jobs=jobs,
        subscriptions=sorted({one.name for one in app.catalog.subscriptions}),
        keep=worker.settings.log.keep,
        outbox=waiting,
        publishes=any(domain.__remit__.events for domain in app.catalog.domains),
        processes=processes,
        warnings=[*_set_up_warnings(app, worker), *warnings, *_event_warnings(app, known, others, waiting.dead)],
    )


def _set_up_warnings(app: Remit, worker: Worker) -> list[str]:
    """Configuration warnings, each with its fix."""
    found = list(app.store.cautions())
    if worker.settings.lease < SHORT_LEASE:
        found.append(
            f"a lease of {worker.settings.lease:g} s is short: a busy machine may lose its runs to others; --lease 30"
        )
    stuck = sorted(spec.name for spec in app.catalog.specs if _cannot_be_stopped(app, spec))
    if stuck:
        found.append(
            f"a timeout cannot stop the thread of {', '.join(stuck)}: make the handler `async def`, or mode='process'"
        )
    return found


def _cannot_be_stopped(app: Remit, spec: Any) -> bool:
    handler = spec.domain.__remit__.handlers[spec]
    return handler.mode == "thread" and app.catalog.policy(spec).timeout is not None


async def _work_warnings(app: Remit, gone: Collection[str], tx: Transaction) -> list[str]:
    """Waiting work that will not run, or not as declared; deliveries to `gone` subscriptions are listed separately."""
    found = [
        f"queue {name} is paused{f' by {line(by)}' if by else ''}, {ago(since)}: remit queues resume {name}"
        for name, at, by in await operations.paused(tx)
        if (since := moment(at)) is not None
    ]
    known = {(each.name, each.version) for each in app.catalog.lines.values()}
    unknown, orphaned = set(), set()
    for _, queue, name, version in await operations.lines(tx):
        if name in gone:
            continue
        if (name, version) not in known:
            unknown.add(versioned(name, version))
        elif queue not in app.catalog.queues:
            orphaned.add(queue)
    if unknown:
        found.append(f"ready jobs that this worker does not know, and leaves to others: {', '.join(sorted(unknown))}")
    if orphaned:
        found.append(
            f"jobs wait in queues that are not declared: {', '.join(sorted(orphaned))}; they run in the slots of the "
            "queues that their jobs name now"
        )
    return found


async def _subscriptions(app: Remit, tx: Transaction) -> list[SubscriptionRecord]:
    """The subscriptions of the store before this worker enters its own: a previous name does not count as vanished."""
    declared = {name for each in app.catalog.subscriptions for name in each.names}
    return await outbox.subscriptions(tx, declared, {domain.name for domain in app.catalog.domains})


def _event_warnings(app: Remit, known: list[SubscriptionRecord], others: Differences, dead: int) -> list[str]:
    """Published events that no subscription gets, or that are held."""
    found = [_gone(each) for each in known if each.vanished and each.under_way]
    found += differing(others)
    found += [
        f"a back-fill of {each.name} is in progress since {ago(each.filling_since)} and holds live events; if its "
        "process is gone, a worker ends it"
        for each in known
        if each.filling_since is not None and each.ordered_by
    ]
    if dead:
        found.append(f"{count(dead, 'dead event')}, which no subscription gets: remit events list --state dead")
    if unheard := sorted(_unheard(app, known)):
        found.append(
            f"events without a subscriber: {', '.join(unheard)}; subscribe to them, or set audit_only=True on their "
            "classes"
        )
    return found


def _gone(each: SubscriptionRecord) -> str:
    waiting = pending(each, "waiting", "scheduled", "ready", "running")
    counts = [count(waiting, "delivery", "deliveries") + " under way"] if waiting else []
    counts += [f"{pending(each, 'dead'):,} dead"] if pending(each, "dead") else []
    return (
        f"subscription {each.name} is no longer declared, with {' and '.join(counts)}: restore its handler, or run "
        f"`remit subscriptions retire {each.name}`"
    )


def _unheard(app: Remit, known: list[SubscriptionRecord]) -> set[str]:
    """Events without a subscription in this application or another on the same database."""
    elsewhere = {name for each in known if each.retired_at is None and not each.vanished for name in each.events}
    heard = {name for each in app.catalog.subscriptions for name in each.event.names} | elsewhere
    declared = [spec for domain in app.catalog.domains for spec in domain.__remit__.events.all]
    return {spec.name for spec in declared if not spec.audit_only and heard.isdisjoint(spec.names)}
