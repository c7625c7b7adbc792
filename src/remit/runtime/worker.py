"""A worker: its parts put together, its life from start to stop, and its new life after a lost lease."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

from remit import schema
from remit.catalog import (
    MAX_HOPS,
    Catalog,
    Hook,
    LogRetention,
    Outbox,
)
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Database, Role
from remit.errors import HandlerShape, InvalidArgument, StoreError, nearest
from remit.jobs import operations as jobs
from remit.runtime import operations
from remit.runtime.duties.event_pruner import Purger
from remit.runtime.duties.filler import Filler
from remit.runtime.duties.job_pruner import Pruner
from remit.runtime.duties.leader import Leader
from remit.runtime.duties.promoter import Promoter
from remit.runtime.duties.registrar import Registrar
from remit.runtime.duties.relay import Relay
from remit.runtime.duties.rescuer import Rescuer
from remit.runtime.duties.sequencer import Usher
from remit.runtime.handlers import django, logcontext
from remit.runtime.handlers.frames import ChildConfig
from remit.runtime.handlers.gate import Gate
from remit.runtime.handlers.hooks import Hooks
from remit.runtime.handlers.processes import ProcessPool
from remit.runtime.handlers.runlog import Journal
from remit.runtime.handlers.runs import Interruption, Services
from remit.runtime.lease.heartbeat import BEATS_PER_LEASE, Heartbeat
from remit.runtime.lease.liveness import pulse_of
from remit.runtime.loop import Loop
from remit.runtime.path.completer import Completer, OrderedCompleter
from remit.runtime.path.executor import Entry, Executor
from remit.runtime.path.ledger import Ledger
from remit.runtime.path.prefetch import Intake
from remit.runtime.path.prober import Prober
from remit.runtime.path.producer import Producer
from remit.runtime.path.reconciler import Reconciler
from remit.runtime.path.settlement import Settlement
from remit.runtime.signals import give_back, take
from remit.runtime.wakeup import Watch
from remit.telemetry import Refusals, Telemetry, enable

LAST_MOMENTS = 3.0
"""Seconds that interrupted runs get to end, after the deadline of a shutdown."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What may be set about a worker.

    `lease`: seconds after which a worker that shows no life may be declared dead (default 30). It beats five times as
    often, and stops itself a fifth earlier. `grace`: seconds that runs may take to end at a shutdown (default 30);
    then they are interrupted, at no cost in attempts. `prune_every`: seconds between two rounds of the pruner and the
    purger (60). `log`: how long events are kept. `max_hops`: how many events may follow from one cause (100).
    `max_tasks_per_child`: after how many jobs the child process of a process-mode handler is replaced (never, by
    default), because its memory grows, say. `queues`: the whole names of the queues that it serves (all, by default);
    `exclude`: of queues that it does not serve. `hooks`: what is done around each run, see `Remit.around_run`.
    """

    log: LogRetention = field(default_factory=Outbox().resolve)
    lease: float = 30.0
    grace: float = 30.0
    prune_every: float = 60.0
    max_hops: int | None = MAX_HOPS
    max_tasks_per_child: int | None = None
    hooks: tuple[Hook, ...] = ()
    queues: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()

    def served(self, known: Collection[str]) -> frozenset[str]:
        """Those of the known queues that it serves. Raises `InvalidArgument`, also where none is left."""
        for option, names in (("queues", self.queues), ("exclude", self.exclude)):
            for name in sorted(names - frozenset(known)):
                hint = nearest(name, known) or f" The queues are {', '.join(sorted(known))}."
                raise InvalidArgument(f"{option} names {name!r}, and no queue of that name is declared.{hint}")
        served = (self.queues or frozenset(known)) - self.exclude
        if known and not served:
            raise InvalidArgument("queues and exclude leave this worker without any queue: name at least one to serve")
        return served


@dataclass(frozen=True, slots=True)
class _Databases:
    """The connections of a worker, by what they are for."""

    claim: Database
    complete: Database
    turn: Database
    relay: Database
    usher: Database
    leader: Database
    handler: Database
    handler_blocking: BlockingDatabase

    @classmethod
    def of(cls, store: Store) -> Self:
        return cls(
            claim=store.database(Role.CLAIM),
            complete=store.database(Role.COMPLETE),
            turn=store.database(Role.TURN),
            relay=store.database(Role.RELAY),
            usher=store.database(Role.RELAY),
            leader=store.database(Role.LEADER),
            handler=store.database(Role.HANDLER),
            handler_blocking=store.blocking(Role.HANDLER),
        )

    async def close(self) -> None:
        for database in (
            self.claim, self.complete, self.turn, self.relay, self.usher, self.leader, self.handler,
        ):  # fmt: skip
            await database.close()
        await asyncio.to_thread(self.handler_blocking.close)


class Worker:
    """Claims and runs the jobs of an application's domains until it is stopped.

    `async with app.worker():` runs one inside this process; `await worker.run()` runs one until a signal ends it:
    SIGTERM or SIGINT stop it gracefully, a second one at once.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: WorkerSettings,
        child_config: ChildConfig,
        refusals: Refusals | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.settings = settings
        self.ledger = Ledger(self._wake_producer)
        self.telemetry = Telemetry(self.ledger.worker)
        self._child_config = child_config
        self._refusals = refusals or Refusals()
        self._entries: dict[int, Entry] = {}
        self._known: dict[tuple[str, int], Entry] = {}
        self._left: set[tuple[str, int]] = set()
        """What the application knows and this worker leaves to others, since it does not serve the queue."""
        self._intakes: dict[str, Intake] = {}
        self._contexts: dict[str, object] = {}
        self._stack = AsyncExitStack()
        self._unknown: set[str] = set()
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self._built = False
        self._started = False
        self._fencing: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The id of this incarnation; never used again."""
        return self.ledger.worker

    # --- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Check the schema, import and check the handlers, register, and begin; nothing is claimed before that.

        Raises `WrongSchema`, `MissingHandler`, `StoreError`, and whatever a domain's context raises.
        """
        await asyncio.to_thread(schema.check, self.store)
        self.catalog.load_handlers()
        enable()  # the application may have configured logging meanwhile
        logcontext.install()
        self._lay_out()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        self._started = True

    async def run(self) -> None:
        """Start, work until a signal or `request_stop`, stop.

        Outside the main thread, where Python delivers no signals, only `request_stop` ends it.
        """
        loop = asyncio.get_running_loop()
        heard = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        for number in heard:
            take(number, lambda *_: loop.call_soon_threadsafe(self.request_stop))
        try:
            await self.start()
            await self._stop.wait()
            await self.stop()
        finally:
            for number in heard:
                give_back(number)

    def request_stop(self) -> None:
        """Ask for a graceful stop; asked again, for an immediate one."""
        if self._stop.is_set():
            self._now.set()
        self._stop.set()

    async def stop(self) -> None:
        """Stop claiming, give back what has not started, let runs end until the deadline, interrupt the others."""
        if not self._started:
            return
        self._started = False
        self._stop.set()
        await _within(self.producer.stop(), LAST_MOMENTS)
        for intake in self._intakes.values():
            self.executor.give_back(intake.empty())
        self.executor.wind_down()
        deadline = time.monotonic() + self.settings.grace
        await self._wait_for_runs(max(0.0, deadline - time.monotonic()))
        if self.executor.active:
            self.telemetry.interrupting(len(self.executor.active))
            self.executor.interrupt_all(Interruption.SHUTDOWN)
            await _within(self.executor.quiet(), LAST_MOMENTS)
            for run in list(self.executor.active.values()):
                self.executor.abandon(run)
        await self._flush()
        await self._close()

    async def _wait_for_runs(self, seconds: float) -> None:
        quiet = asyncio.create_task(self.executor.quiet())
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({quiet, now}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (quiet, now):
            task.cancel()

    async def _flush(self) -> None:
        """What ended must be written, for as long as the lease lasts."""
        await _within(self.prober.settled(), LAST_MOMENTS)
        written = asyncio.gather(self.completer.flushed(), self.ordered_completer.flushed())
        await _within(written, self.settings.lease * 0.8)
        await _within(self.journal.stop(), LAST_MOMENTS)
        try:
            await _within(self.journal.flush(), LAST_MOMENTS)
        except StoreError as error:
            self.telemetry.log_lost(error)

    # --- the parts

    def _lay_out(self) -> None:
        """Which lines this worker knows, and whose slots they use."""
        served = self.settings.served(self.catalog.queues)
        for queue in self.catalog.queues.values():
            if queue.name in served:
                self._intakes[queue.name] = Intake(queue.name, queue.concurrency, self._wake_producer)
        for number, line in self.catalog.lines.items():
            if line.queue.name not in served:
                self._left.add((line.name, line.version))
                continue
            domain = line.spec.domain.__remit__
            assert domain.instance is not None
            entry = Entry(
                line.spec,
                self.catalog.policy(line.spec),
                line.handler,
                domain.instance,
                line.spec.codec.load,
            )
            self._known[line.name, line.version] = entry
            self._entries[number] = entry
            self._intakes[line.queue.name].lines.append(number)

    @property
    def _hooks(self) -> list[Hook]:
        """What is done around each run, the first outermost; Django's connections are seen to where it is set up."""
        own = django.hook()
        return [*([own] if own else []), *self.settings.hooks]

    def _paths_of_hooks(self) -> tuple[str, ...]:
        """By which a child imports the hooks that run in it."""
        inside = [hook for hook in self.settings.hooks if hook.blocking is not None]
        process = next((entry.spec.name for entry in self._entries.values() if entry.handler.mode == "process"), None)
        lost = [hook.place for hook in inside if hook.path is None]
        if process and lost:
            raise HandlerShape(
                f"The hook around runs at {lost[0]} is not at the top level of a module that can be imported, and "
                f'{process} has mode="process": the hook runs in that process. Move it, or make it async.'
            )
        return tuple(hook.path for hook in inside if hook.path is not None)

    def _wake_producer(self) -> None:
        self.producer.wake()

    async def _open(self) -> None:
        await self._open_contexts()
        self._build()
        await self.registrar.enter()
        await self._register(self.ledger)
        self.heartbeat.start()
        self.executor.start()
        for loop in self._loops:
            loop.start()

    async def _open_contexts(self) -> None:
        for domain in self.catalog.domains:
            spec = domain.__remit__
            if spec.context is not None:
                manager = spec.context.open()
                if isinstance(manager, AbstractAsyncContextManager):
                    self._contexts[spec.name] = await self._stack.enter_async_context(manager)
                else:
                    self._contexts[spec.name] = self._stack.enter_context(manager)

    def _build(self) -> None:
        self._databases = databases = _Databases.of(self.store)
        watch = Watch(self.store.bell)
        self._build_path(databases, watch)
        keep = self.settings.log.keep
        self.relay = Relay(self.store, databases.relay, watch, self.usher.tell, keep, self.telemetry)
        self._build_duties(databases.leader)
        self.heartbeat = self._heartbeat()
        self._loops: list[Loop] = [
            self.completer, self.ordered_completer, self.promoter, self.journal, self.leader, self.rescuer,
            self.pruner, self.purger, self.registrar, self.filler, self.reconciler, self.usher, self.relay,
            self.producer,
        ]  # fmt: skip
        self._built = True

    def _build_path(self, databases: _Databases, watch: Watch) -> None:
        """What a job goes through: producer, executor, completer, and what they tell."""
        telemetry = self.telemetry
        self.usher = Usher(databases.usher, self._wake_producer, telemetry)
        self.promoter = Promoter(databases.leader, self._wake_producer, telemetry)
        self.settlement = Settlement(
            self._ledger, telemetry, self.promoter.wake_in, self.usher.tell, self.usher.tell_any
        )
        self.completer = Completer(databases.complete, self._ledger, self.settlement, telemetry)
        self.ordered_completer = OrderedCompleter(databases.turn, self._ledger, self.settlement, telemetry)
        self.prober = Prober(databases.handler, self.completer, self._ledger, self.settlement)
        self.journal = Journal(databases.leader, telemetry)
        services = Services(
            store=self.store,
            database=lambda: databases.handler,
            blocking=lambda: databases.handler_blocking,
            telemetry=telemetry,
            gate=Gate(self.catalog, self._refusals.count, self.settings.max_hops),
            journal=self.journal.write,
        )
        child_config = replace(self._child_config, hooks=self._paths_of_hooks())
        self.executor = Executor(
            self._entries,
            self._intakes,
            self._contexts,
            self.completer,
            self.ordered_completer,
            self.prober,
            self.settlement,
            self._ledger,
            databases.complete,
            services,
            Hooks(self._hooks),
            ProcessPool(child_config, self._refusals, self.journal.write, self.settings.max_tasks_per_child),
            self._wake_producer,
        )
        self.producer = Producer(
            self.store, databases.claim, self._intakes, self._ledger, self.executor, watch, telemetry
        )

    def _build_duties(self, database: Database) -> None:
        """What somebody has to do now and then: most of it the leader."""
        telemetry, settings = self.telemetry, self.settings
        interval = settings.lease / BEATS_PER_LEASE
        self.leader = Leader(database, self._ledger, settings.lease / 2, telemetry)
        self.rescuer = Rescuer(
            database,
            lambda: self.heartbeat,
            self.leader,
            interval,
            self._wake_producer,
            self.settlement,
            telemetry,
            self.store.sidecar,
        )
        retentions = {q.name: self.catalog.queue_policy(q).keep for q in self.catalog.queues.values()}
        otherwise = self.catalog.application_policy.keep
        self.pruner = Pruner(database, self.leader, retentions, otherwise, settings.prune_every, telemetry)
        self.purger = Purger(database, self.leader, settings.log, settings.prune_every, telemetry)
        self.registrar = Registrar(database, self.catalog, self.leader, telemetry)
        self.filler = Filler(database, self.leader, telemetry)
        self.reconciler = Reconciler(
            database, self._ledger, self.executor.active, self._adopt, self.settlement, interval, telemetry
        )
        self.leader.on_elected += [self.rescuer.wake, self.pruner.wake, self.purger.wake, self.registrar.wake]

    def _ledger(self) -> Ledger:
        return self.ledger

    async def _register(self, ledger: Ledger) -> None:
        about = {
            "version": _version(),
            "lease": self.settings.lease,
            "queues": {name: intake.concurrency for name, intake in self._intakes.items()},
            "jobs": sorted({f"{name} v{number}" for name, number in self._known}),
            "subscriptions": sorted({each.name for each in self.catalog.subscriptions}),
        }
        await self._databases.leader.run(
            lambda tx: operations.register(
                tx, ledger.worker, host=socket.gethostname(), pid=os.getpid(), about=json.dumps(about)
            ),
            atomic=False,
        )

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            pulse_of(self.store, self.ledger.worker),
            self.settings.lease,
            self.telemetry,
            lost=self._lost,
            health=self.health,
            on_loop=self.executor.on_loop,
        )

    def _adopt(self, ready: list[tuple[int, str, str, int]]) -> None:
        """Take in lines of known jobs that wait in queues which are declared no more, or elsewhere."""
        unknown = set()
        for number, queue, name, known_version in ready:
            if number in self._entries:
                continue
            if (name, known_version) in self._left:
                continue
            entry = self._known.get((name, known_version))
            if entry is None:
                unknown.add(f"{name} v{known_version}")
                continue
            into = queue if queue in self._intakes else entry.spec.queue.name
            self._entries[number] = entry
            self._intakes[into].lines.append(number)
            self.telemetry.adopted(name, queue, into)
            self.producer.wake()
        if unknown - self._unknown:
            self.telemetry.unknown_work(", ".join(sorted(unknown - self._unknown)))
        self._unknown = unknown

    # --- health

    def health(self) -> dict[str, Any]:
        """What this worker says about itself: `ok`, or the parts that cannot work, and why."""
        trouble = {loop.name: complaint for loop in self._loops if (complaint := loop.complaint)}
        if (failing := self.heartbeat.failing) is not None:
            trouble["heartbeat"] = failing
        health: dict[str, Any] = {"ok": not trouble}
        if self._stop.is_set():
            health["stopping"] = True
        if trouble:
            health["trouble"] = trouble
        if self._unknown:
            health["unknown"] = sorted(self._unknown)
        if self._refusals.counts:
            health["refused"] = self._refusals.counts.total()
        return health

    # --- a lost lease

    def _lost(self, why: str) -> None:
        if self._fencing is None or self._fencing.done():
            self.telemetry.fenced(self.ledger.worker, why)
            self.ledger.fence()
            self.completer.forget()
            self.ordered_completer.forget()
            for intake in self._intakes.values():
                intake.empty()
            self.executor.interrupt_all(Interruption.LOST)
            self._fencing = asyncio.create_task(self._live_again(), name="remit-fencing")

    async def _live_again(self) -> None:
        """A new id, a new registration, a new heartbeat; the parts go on."""
        await self.heartbeat.stop()
        fresh, pause = Ledger(self._wake_producer), 0.1
        while True:
            try:
                await self._register(fresh)
                break
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
        self.ledger = fresh
        self.telemetry.worker = fresh.worker
        self.heartbeat = self._heartbeat()
        self.heartbeat.start()
        self.producer.wake()

    # --- the end

    async def _close(self) -> None:
        if self._fencing is not None:
            self._fencing.cancel()
            await asyncio.gather(self._fencing, return_exceptions=True)
        if self._built:
            await self.executor.close()
            # A second cancellation ends what the first one cannot: a statement whose server answers nothing.
            others = (loop for loop in self._loops if loop is not self.leader)
            await asyncio.gather(*(_within(loop.kill(), LAST_MOMENTS) for loop in others))
            await self.prober.kill()
            await self._leave()
            await self._databases.close()
        await self._stack.aclose()

    async def _leave(self) -> None:
        """Sign off; what could not be written meanwhile is the rescuer's at once."""
        await self.heartbeat.stop()
        # An election under way may be won: a term that nobody knows of would have to run out.
        await _within(self.leader.stop(), LAST_MOMENTS)
        await _within(self.leader.kill(), LAST_MOMENTS)
        try:
            async with asyncio.timeout(LAST_MOMENTS):
                await self._databases.leader.run(lambda tx: operations.deregister(tx, self.ledger.worker), atomic=False)
        except (StoreError, TimeoutError) as error:
            self.telemetry.not_signed_off(str(error) or f"no answer within {LAST_MOMENTS:.0f} s")

    async def drain(self) -> None:
        """Wait until nothing is left that this worker could do: no event to fan out, no lane of an ordered subscription
        to move on, no job ready, held or due. Paused queues are left alone.
        """
        database, worker = self._databases.leader, self.ledger.worker
        while not self._stop.is_set():
            lines = [(line, name) for name, intake in self._intakes.items() for line in intake.lines]
            promoted, _ = await database.run(lambda tx: jobs.promote(tx, limit=1000), atomic=False)
            is_left = await database.run(lambda tx: operations.left(tx, worker, lines), atomic=False)  # noqa: B023
            if not (promoted or is_left or self.ledger.busy):
                return
            for loop in (self.relay, self.producer):
                loop.wake()
            await asyncio.sleep(0.005)


async def _within(wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass


def _version() -> str:
    try:
        return version("remit")
    except PackageNotFoundError:
        return "unknown"
