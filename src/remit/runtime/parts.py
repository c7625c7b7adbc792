"""The parts of a worker, and how they are wired together.

The class of a part states its name, its role on the database, and the signals that wake it; a `LeaderDuty` is done by
the leader alone. A new duty takes one more line, in `Parts._duties`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from remit.catalog import Catalog
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Database, Role
from remit.runtime.duties.event_pruner import EventPruner
from remit.runtime.duties.filler import Filler
from remit.runtime.duties.job_pruner import JobPruner
from remit.runtime.duties.leader import Leader
from remit.runtime.duties.promoter import Promoter
from remit.runtime.duties.registrar import Registrar
from remit.runtime.duties.relay import Relay
from remit.runtime.duties.rescuer import Rescuer
from remit.runtime.duties.sequencer import Sequencer
from remit.runtime.handlers.frames import ChildConfig
from remit.runtime.handlers.gate import Gate
from remit.runtime.handlers.hooks import Hooks
from remit.runtime.handlers.processes import ProcessPool
from remit.runtime.handlers.runlog import RunLog
from remit.runtime.handlers.runs import Interruption, Services
from remit.runtime.lease.heartbeat import BEATS_PER_LEASE, Heartbeat
from remit.runtime.loop import Signal, Signals, StoreLoop
from remit.runtime.path.completer import Completer, OrderedCompleter
from remit.runtime.path.executor import Executor
from remit.runtime.path.ledger import Claims
from remit.runtime.path.lines import Lines
from remit.runtime.path.prober import Prober
from remit.runtime.path.producer import Producer
from remit.runtime.path.reconciler import Reconciler
from remit.runtime.path.settlement import Settlement
from remit.runtime.settings import WorkerSettings
from remit.runtime.wakeup import SharedWakeup
from remit.telemetry import Refusals, Telemetry

P = TypeVar("P", bound=StoreLoop)


class Databases:
    """The connections of a worker: one for each role, and one for each part that does not share."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._opened: dict[str, Database] = {}
        self.blocking: BlockingDatabase = store.blocking(Role.HANDLER)
        """For handlers that block."""

    def role(self, role: Role) -> Database:
        """The database that all parts of a role share."""
        return self._named(role, role)

    def of(self, part: type[StoreLoop]) -> Database:
        """The database of a part."""
        return self._named(part.role if part.shares_connection else part.name, part.role)

    def _named(self, name: str, role: Role) -> Database:
        if name not in self._opened:
            self._opened[name] = self._store.database(role)
        return self._opened[name]

    async def close(self) -> None:
        for database in self._opened.values():
            await database.close()
        await asyncio.to_thread(self.blocking.close)


class Parts:
    """All parts of one worker. Those that others use have an attribute; `get` finds any loop by its class."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: WorkerSettings,
        child_config: ChildConfig,
        refusals: Refusals,
        *,
        claims: Claims,
        lines: Lines,
        contexts: Mapping[str, object],
        signals: Signals,
        telemetry: Telemetry,
    ) -> None:
        self._store, self._catalog, self._settings = store, catalog, settings
        self._claims, self._lines, self._telemetry = claims, lines, telemetry
        self._work = signals.sender(Signal.WORK)
        self._wakeup = SharedWakeup(store.wakeup)
        self.databases = Databases(store)
        self.heartbeat: Heartbeat
        """That of the present incarnation."""
        self._wire_path(child_config, refusals, contexts)
        self.leader = Leader(
            self._database(Leader), claims, settings.lease / 2, signals.sender(Signal.ELECTED), telemetry
        )
        self.loops: list[StoreLoop] = [
            self.completer, self.ordered_completer, self.run_log, *self._duties(), self.producer,
        ]  # fmt: skip
        """In the order in which they start."""
        for loop in self.loops:
            signals.connect(loop)

    def _wire_path(self, child_config: ChildConfig, refusals: Refusals, contexts: Mapping[str, object]) -> None:
        """What a job goes through, and the two duties to which its end is reported."""
        database, claims, lines, telemetry = self._database, self._claims, self._lines, self._telemetry
        self.promoter = Promoter(database(Promoter), self._work, telemetry)
        self.sequencer = Sequencer(database(Sequencer), self._work, telemetry)
        self.settlement = Settlement(
            claims, telemetry, self.promoter.wake_in, self.sequencer.advance, self.sequencer.advance_any
        )
        self.completer = Completer(database(Completer), claims, self.settlement, telemetry)
        self.ordered_completer = OrderedCompleter(database(OrderedCompleter), claims, self.settlement, telemetry)
        self.prober = Prober(self.databases.role(Role.HANDLER), self.completer, claims, self.settlement)
        self.run_log = RunLog(database(RunLog), telemetry)
        hooks = Hooks(self._settings.hooks)
        child_config = replace(child_config, hooks=hooks.paths(lines.in_process()))
        self.executor = Executor(
            lines,
            contexts,
            self.completer,
            self.ordered_completer,
            self.prober,
            self.settlement,
            claims,
            database(Completer),
            self._services(refusals),
            hooks,
            ProcessPool(child_config, refusals, self.run_log.write, self._settings.max_tasks_per_child),
            self._work,
        )
        self.producer = Producer(
            self._store, database(Producer), lines.prefetches, claims, self.executor, self._wakeup, telemetry
        )

    def _services(self, refusals: Refusals) -> Services:
        handler = self.databases.role(Role.HANDLER)
        return Services(
            store=self._store,
            database=lambda: handler,
            blocking=lambda: self.databases.blocking,
            telemetry=self._telemetry,
            gate=Gate(self._catalog, refusals.count, self._settings.max_hops),
            run_log=self.run_log.write,
        )

    def _duties(self) -> list[StoreLoop]:
        """What a worker does beside running jobs, in the order in which it begins. A new duty is added here."""
        catalog, settings, telemetry, leader = self._catalog, self._settings, self._telemetry, self.leader
        database, every = self._database, settings.lease / BEATS_PER_LEASE
        retentions = {queue.name: catalog.queue_policy(queue).keep for queue in catalog.queues.values()}
        otherwise = catalog.application_policy.keep
        held, active, adopt = self._claims, self.executor.active, self._lines.adopt
        return [
            self.promoter,
            leader,
            Rescuer(database(Rescuer), lambda: self.heartbeat, leader, every, self._work, self.settlement, telemetry),
            JobPruner(database(JobPruner), leader, retentions, otherwise, settings.prune_every, telemetry),
            EventPruner(database(EventPruner), leader, settings.log, settings.prune_every, telemetry),
            Registrar(database(Registrar), catalog, leader, telemetry),
            Filler(database(Filler), leader, telemetry),
            Reconciler(database(Reconciler), held, active, adopt, self.settlement, every, telemetry),
            self.sequencer,
            Relay(self._store, database(Relay), self._wakeup, self.sequencer.advance, settings.log.keep, telemetry),
        ]

    def _database(self, part: type[StoreLoop]) -> Database:
        return self.databases.of(part)

    def get(self, kind: type[P]) -> P:
        """The part of this class."""
        return next(loop for loop in self.loops if type(loop) is kind)

    # --- what they do together

    def start(self, *, passive: bool) -> None:
        """Let all begin; passive: only what writes outcomes, since nothing is claimed."""
        self.heartbeat.start()
        self.executor.start()
        for loop in (self.completer, self.ordered_completer, self.run_log) if passive else self.loops:
            loop.start()

    def forget(self) -> None:
        """The lease is lost: nothing that was claimed is written or run any more."""
        self.completer.forget()
        self.ordered_completer.forget()
        for prefetch in self._lines.prefetches.values():
            prefetch.empty()
        self.executor.interrupt_all(Interruption.LOST)

    @property
    def complaints(self) -> dict[str, str]:
        """What is wrong now, by part. May be read from any thread."""
        complaints = {loop.name: complaint for loop in self.loops if (complaint := loop.complaint)}
        if (failing := self.heartbeat.failing) is not None:
            complaints["heartbeat"] = failing
        return complaints
