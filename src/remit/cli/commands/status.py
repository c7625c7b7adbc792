"""`remit status`: the state of the whole application, once or continuously."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from remit import schema
from remit.app import Remit, SyncRemit
from remit.cli import records
from remit.cli.applications import opened
from remit.cli.options import AppPath, AsJson, Window
from remit.cli.output import console, say, tell, tell_line
from remit.cli.views.events import outbox_line
from remit.cli.views.queues import queue_table
from remit.cli.views.subscriptions import differing, subscription_table
from remit.cli.wording import count, line, rate, span
from remit.client import QueueRecord
from remit.errors import StoreBusy, StoreError, StoreUnavailable
from remit.jobs.states import State
from remit.outbox.model import OutboxRecord, SubscriptionRecord
from remit.runtime.operations import LeaderRecord, WorkerRecord


def status(
    app: AppPath = None,
    *,
    watch: Annotated[
        bool | None,
        Parameter(negative="--once", help="Continue until Ctrl-C; the default in a terminal, without --json."),
    ] = None,
    interval: Annotated[
        float, Parameter(validator=Number(gte=0.1), metavar="SECONDS", help="Seconds between two updates.")
    ] = 1.0,
    window: Window = 10.0,
    json: AsJson = False,
) -> None:
    """Show queues, workers, events and rates, live.

    With --json, one document; with --json --watch, one on each line.
    """
    if watch is None:
        watch = sys.stdout.isatty() and not json
    with opened(app) as (application, face):
        if watch:
            with suppress(KeyboardInterrupt):  # the way to end it
                (_stream if json else _live)(application, face, window, interval)
        elif json:
            tell(_look(application, face, window).document())
        else:
            say(_look(application, face, window).screen())


_ALL = "all"
"""The line of the totals; a queue has a dot in its name."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    store: str
    version: int
    at: datetime
    window: float
    queues: list[QueueRecord]
    workers: list[WorkerRecord]
    leaders: list[LeaderRecord]
    outbox: OutboxRecord
    subscriptions: list[SubscriptionRecord] | str
    """Or the reason why they are unknown."""
    warnings: list[str]
    """Differences between the store and this application's declarations."""
    publishes: bool
    """Whether the application declares any event."""

    def ended(self, state: State) -> int:
        return sum(queue.ended.get(state, 0) for queue in self.queues)

    @property
    def slots(self) -> dict[str, int]:
        """Slots of each queue, over all workers."""
        slots: dict[str, int] = {}
        for worker in self.workers:
            if worker.silent:
                continue
            for name, number in worker.about.get("queues", {}).items():
                slots[name] = slots.get(name, 0) + number
        return slots | {_ALL: sum(slots.values())}

    def document(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "schema_version": self.version,
            "at": records.stamp(self.at),
            "totals": {
                "ready": sum(queue.ready for queue in self.queues),
                "scheduled": sum(queue.scheduled for queue in self.queues),
                "running": sum(queue.running for queue in self.queues),
                "dead": sum(queue.dead for queue in self.queues),
                "retrying": sum(queue.retrying for queue in self.queues),
                "completed_per_second": self.ended(State.COMPLETED) / self.window,
                "failed_per_second": sum(queue.failed for queue in self.queues) / self.window,
            },
            "queues": [records.queue(each) for each in self.queues],
            "workers": [records.worker(each) for each in self.workers],
            "leaders": [records.leader(each) for each in self.leaders],
            "outbox": records.outbox(self.outbox),
            "subscriptions": None
            if isinstance(self.subscriptions, str)
            else [records.subscription(each) for each in self.subscriptions],
            "warnings": self.warnings,
        }

    def screen(self) -> RenderableType:
        head = Text.assemble(
            (self.store, "bold"), f", schema version {self.version}", (f"  {self.at.astimezone():%H:%M:%S %Z}", "dim")
        )
        table = queue_table([*self.queues, *self._total()], self.slots)
        queues = table if self.queues else Text("no queues")
        return Group(head, self._workers(), *self._outbox(), Text(""), queues, *self._subscriptions(), self._rates())

    def _outbox(self) -> list[RenderableType]:
        """Nothing for an application without events."""
        waiting = self.outbox.pending or self.outbox.unknown or self.outbox.dead
        return [outbox_line(self.outbox)] if self.publishes or self.subscriptions or waiting else []

    def _subscriptions(self) -> list[RenderableType]:
        """Those with open deliveries, or with a warning."""
        if isinstance(self.subscriptions, str):
            return [Text(f"\nsubscriptions: {line(self.subscriptions)}", "red")]
        told = [each for each in self.subscriptions if each.under_way or each.vanished or each.filling_since]
        shown: list[RenderableType] = [Text(""), subscription_table(told, brief=True)] if told else []
        return [*shown, *(Text(f"\nwarning: {line(each)}", "yellow") for each in self.warnings)]

    def _total(self) -> list[QueueRecord]:
        if len(self.queues) < 2:
            return []
        oldest = [queue.oldest_ready for queue in self.queues if queue.oldest_ready is not None]
        longest = [queue.longest_run for queue in self.queues if queue.longest_run is not None]
        return [
            QueueRecord(
                _ALL,
                self.window,
                ready=sum(queue.ready for queue in self.queues),
                scheduled=sum(queue.scheduled for queue in self.queues),
                running=sum(queue.running for queue in self.queues),
                dead=sum(queue.dead for queue in self.queues),
                retrying=sum(queue.retrying for queue in self.queues),
                failed=sum(queue.failed for queue in self.queues),
                oldest_ready=max(oldest, default=None),
                longest_run=max(longest, default=None),
                ended={state: self.ended(state) for state in State if self.ended(state)},
            )
        ]

    def _workers(self) -> Text:
        if not self.workers:
            return Text("no workers: start one with `remit worker`", "yellow")
        alive = [worker for worker in self.workers if not worker.silent]
        running = sum(worker.running for worker in alive)
        slots = sum(worker.slots for worker in alive)
        text = Text(f"{count(len(alive), 'worker')}, {running:,} of {count(slots, 'slot')} busy")
        for worker in self.workers:
            if worker.silent:
                held = f", and holds {count(worker.running, 'job')}" if worker.running else ""
                text.append(f"\n{worker.id}: not seen for {span(worker.silence)}{held}", "red")
            for part, what in worker.health.get("trouble", {}).items():
                text.append(f"\n{worker.id}: {part}: {line(str(what))}", "red")
        return text

    def _rates(self) -> Text:
        rates = [f"{state.value} {rate(self.ended(state) / self.window)}" for state in State if self.ended(state)]
        if failed := sum(queue.failed for queue in self.queues):
            rates.append(f"failed attempts {rate(failed / self.window)}")
        what = ", ".join(rates) or "nothing ended"
        return Text(f"\nin the last {self.window:g} s: {what}", "dim")


def _look(app: Remit, face: SyncRemit, window: float) -> _Snapshot:
    subscriptions = _subscriptions(app, face)
    return _Snapshot(
        app.store.describe(),
        schema.latest(app.store.dialect),  # checked when it was opened
        datetime.now(UTC),
        window,
        face.queues.list(window=window),
        face.workers.list(),
        face.workers.leaders(),
        face.events.outbox(),
        subscriptions,
        [] if isinstance(subscriptions, str) else differing(face.subscriptions.differences()),
        any(domain.__remit__.events for domain in app.catalog.domains),
    )


def _subscriptions(app: Remit, face: SyncRemit) -> list[SubscriptionRecord] | str:
    """Handlers that cannot be imported are reported here, not raised: the command is used to find such problems."""
    try:
        app.catalog.import_handlers()
    except Exception as error:
        return f"the handlers cannot be imported: {type(error).__name__}: {error}"
    return face.subscriptions.list()


def _stream(app: Remit, face: SyncRemit, window: float, interval: float) -> None:
    while True:
        tell_line(_look(app, face, window).document())
        time.sleep(interval)


def _live(app: Remit, face: SyncRemit, window: float, interval: float) -> None:
    """Draw repeatedly; if the database is unreachable, report it and wait."""
    with Live(console=console(), auto_refresh=False, screen=True) as live:
        screen: RenderableType = Text("")
        while True:
            try:
                screen = _look(app, face, window).screen()
                live.update(screen, refresh=True)
            except (StoreUnavailable, StoreBusy) as error:
                live.update(Group(screen, _trouble(error)), refresh=True)
            time.sleep(interval)


def _trouble(error: StoreError) -> Text:
    return Text(f"\n{datetime.now().astimezone():%H:%M:%S %Z}: {line(str(error))}; trying again", "red")
