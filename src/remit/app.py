"""The composition root: one database, some domains, and all that can be done with them."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from remit import schema
from remit.catalog import (
    MAX_HOPS,
    Binding,
    Catalog,
    Defaults,
    Domain,
    Outbox,
    Rail,
    RunHook,
    examine_hook,
    hop_limit,
    stated,
)
from remit.client import (
    Ambient,
    DirectRail,
    Events,
    Jobs,
    Queues,
    StoreSender,
    Subscriptions,
    SyncEvents,
    SyncJobs,
    SyncQueues,
    SyncSubscriptions,
    SyncWorkers,
    Workers,
)
from remit.client.faces import BlockingRuns
from remit.db import forks
from remit.db.opening import open_store
from remit.db.transaction import BlockingDatabase, Database, Role, T, Transaction, Work
from remit.errors import AlreadyBound, ConfigurationError, InvalidArgument, RunningLoop
from remit.outbox.model import Differences
from remit.outbox.operations import recognise
from remit.runtime.duties.registrar import RECOGNISED, declare, differences
from remit.runtime.handlers.frames import ChildConfig
from remit.runtime.settings import WorkerSettings
from remit.runtime.worker import Worker
from remit.telemetry import Refusals

if TYPE_CHECKING:
    from remit.boundaries import Boundaries


H = TypeVar("H", bound=RunHook)
SHORTEST_LEASE = 0.1
"""Seconds; what a busy machine needs is far more."""


class Remit:
    """An application: its database and its domains.

    `url` is `sqlite:///file.db` (created and migrated without asking) or `postgresql://user@host/database` (migrated
    by `remit migrate` alone); left out, it is read from `REMIT_DATABASE_URL`. `domains` are instances. `defaults` hold
    for every job that says nothing else. `schema` names the PostgreSQL schema (default `remit`); `pooler=True` says
    that a transaction pooler stands before the server: no session state, polling instead of LISTEN. `lease`, `grace`
    and `prune_every` are seconds; see `WorkerSettings`. `max_tasks_per_child` is after how many jobs the child process
    of a process-mode handler is replaced (default: never). `max_hops` is how many events may follow from one cause,
    each published by a handler of the one before (default 100; None for no limit): a guard against loops.
    `name` stands in messages about this application.

    `outbox` says how long events are kept; see `Outbox`. `rail` says how `publish_soon` buffers; see `Rail`. `scope`
    names the keys of a tenant, which every message must carry (`remit check` sees to it). `require_tx=True` refuses to
    send anything outside a transaction, except by `publish_soon`. `ambient` are functions that know the transaction
    that runs here, which is used where a caller passes no `tx`; see `remit.adapters`. `boundaries` is what `remit
    check` is told about its domains; see `remit.boundaries.Boundaries`.

    Nothing is opened before it is used: an enqueue on an unopened application opens it, per process and event loop.
    `async with app:` opens it and closes it again. A domain belongs to one open application at a time.

    `app.jobs`, `app.queues`, `app.events`, `app.subscriptions` and `app.workers` look at what is in the database, and
    act on it; `app.sync` has the same, blocking.

    Raises `ConfigurationError`, `MissingExtra`, `CatalogError`, `InvalidArgument`.

        app = Remit("sqlite:///shop.db", domains=[billing])
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        domains: Iterable[Domain[Any]],
        defaults: Defaults | None = None,
        schema: str = "remit",
        pooler: bool = False,
        lease: float = 30.0,
        grace: float = 30.0,
        prune_every: float = 60.0,
        max_tasks_per_child: int | None = None,
        max_hops: int | None = MAX_HOPS,
        name: str | None = None,
        outbox: Outbox | None = None,
        rail: Rail | None = None,
        scope: Iterable[str] = (),
        require_tx: bool = False,
        ambient: Sequence[Ambient] = (),
        boundaries: Boundaries | None = None,
    ) -> None:
        environment = os.environ.get("REMIT_DATABASE_URL")
        self.ignores_environment = bool(url and environment and url != environment)
        """Whether the database is named in code although `REMIT_DATABASE_URL` names another one."""
        url = url or environment
        if not url:
            raise ConfigurationError("no database: pass a URL to Remit(…), or set REMIT_DATABASE_URL")
        settings = WorkerSettings(log=(stated("outbox", outbox, Outbox) or Outbox()).resolve())
        self._settings = _set(settings, lease=lease, grace=grace, prune_every=prune_every)
        self._settings = replace(_limited(self._settings, max_tasks_per_child), max_hops=hop_limit(max_hops))
        self.store = open_store(url, schema=schema, pooler=pooler)
        self.catalog = Catalog(domains, defaults, scope, log=settings.log)
        self.name = name or f"Remit({self.store.describe()})"
        self.boundaries = boundaries
        self._options: dict[str, Any] = {
            "domains": self.catalog.domains,
            "defaults": defaults,
            "lease": lease,
            "grace": grace,
            "prune_every": prune_every,
            "max_tasks_per_child": max_tasks_per_child,
            "max_hops": max_hops,
            "outbox": outbox,
            "rail": rail,
            "scope": self.catalog.scope_keys,
            "require_tx": require_tx,
            "ambient": ambient,
            "boundaries": boundaries,
        }
        self._child_config = ChildConfig.of(
            self.catalog, self.store.url, schema=schema, pooler=pooler, max_hops=max_hops
        )
        self._connections = _Connections(self, stated("rail", rail, Rail) or Rail())
        self.refusals = Refusals()
        sender = StoreSender(
            self.store,
            self._connections.awaiting,
            self._connections.blocking,
            self._connections.is_open,
            rail=self._connections.rail,
            refusals=self.refusals,
            ambient=ambient,
            require_tx=require_tx,
            max_hops=max_hops,
        )
        self._binding = Binding(self.name, sender, self.catalog)
        runs = _Runs(self._connections)
        self.jobs = Jobs(runs, self.catalog.called)
        self.queues = Queues(runs, lambda: self.catalog.queues)
        self.workers = Workers(runs)
        self.events = Events(runs, self.catalog.event_called)
        self.subscriptions = Subscriptions(runs, self._declared, self._domain_names, self._compare)
        self.sync = SyncRemit(self, self._connections)
        for domain in self.catalog.domains:
            if domain.binding is None:
                domain.rebind(self._binding)

    # --- opening and closing

    async def __aenter__(self) -> Self:
        self._take_domains()
        await asyncio.to_thread(schema.check, self.store)
        self._connections.awaiting()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.close()

    def _take_domains(self) -> None:
        """Be the application of all our domains. Raises `AlreadyBound` while another open one holds any."""
        for domain in self.catalog.domains:
            holder = domain.binding
            if holder is not None and holder is not self._binding and holder.sender.in_use:
                raise AlreadyBound(
                    f"{domain.name} belongs to {holder.label} and cannot be taken in by {self.name}: "
                    "close the first one, or use `with app.bound():` in a test"
                )
            domain.rebind(self._binding)

    @contextmanager
    def bound(self) -> Iterator[Self]:
        """Be the application of all our domains for a while, whoever was; for tests.

        They go back to it at the end of the block.

            with Remit("sqlite://", domains=[billing]).bound() as app: ...
        """
        before = [(domain, domain.rebind(self._binding)) for domain in self.catalog.domains]
        try:
            yield self
        finally:
            for domain, binding in before:
                domain.rebind(binding)

    def twin(self, url: str, **options: Any) -> Remit:
        """The same application on another database; for tests. `options` are those of `Remit` that differ.

        The domains stay with whom they are: see `bound`.
        """
        other = Remit(url, **{**self._options, **options})
        other._settings = replace(other._settings, hooks=self._settings.hooks)
        return other

    def around_run(self, hook: H) -> H:
        """Do something around each run of the workers that are made from now on; the function is returned as it is.

        `hook` is a function of the run, async or not, that yields once, or a class of context managers that takes the
        run. It sees the run (`run.name`, `run.message`, `run.context` …), and how the handler ended: what it raised
        comes out of the `yield`, and what it returned is `run.result`. Hooks nest in the order in which they are
        registered, the first one outermost.

        A plain hook runs where the handler runs: on the event loop, where it must not block, in the thread, or in the
        child process, which imports it by its path. An async hook runs on the worker's event loop; around handlers in
        threads and processes it stands outside of the plain ones. Both are part of the run: their time counts towards
        its timeout (in processes, that of plain hooks alone), and what they set in context variables the handler sees
        (from an async hook, not in a process).

        A hook that raises fails the run as the handler would, and may raise `Skip` and its kind. It cannot make a
        failure a success: what the handler raised goes on, even if the hook swallows it. Raises `HandlerShape`.

            @app.around_run
            def traced(run: Run[Any]) -> Iterator[None]:
                with tracer.span(run.name):
                    yield
        """
        self._settings = replace(self._settings, hooks=(*self._settings.hooks, examine_hook(hook)))
        return hook

    # --- what can be done with it

    async def migrate(self) -> list[str]:
        """Bring the database to the schema that this release needs; answers what ran.

        Safe at any time and from any number of processes: all that is missing runs in one transaction, under a lock.
        Raises `StoreError`.
        """
        return await asyncio.to_thread(self._migrate)

    def _migrate(self) -> list[str]:
        """Migrate the schema, then enter the subscriptions and events of this release of the application."""
        steps = schema.migrate(self.store)
        self.catalog.import_handlers()
        database = self.store.blocking(Role.MIGRATE)  # of its own: to migrate is not to open
        try:
            entered = database.run(lambda tx: declare(tx, self.catalog, force=True))
            while database.run(lambda tx: recognise(tx, limit=RECOGNISED)) == RECOGNISED:
                pass
        finally:
            database.close()
        return [
            *(f"{step.version:04d} {step.name}" for step in steps),
            *(f"subscription {name} {what}" for name, what in entered),
        ]

    def _declared(self) -> set[str]:
        self.catalog.import_handlers()
        return {each.name for each in self.catalog.subscriptions}

    async def _compare(self, tx: Transaction) -> Differences:
        return await differences(tx, self.catalog)

    def _domain_names(self) -> set[str]:
        return {domain.name for domain in self.catalog.domains}

    def worker(
        self,
        *,
        lease: float | None = None,
        grace: float | None = None,
        max_tasks_per_child: int | None = None,
        queues: Iterable[str] = (),
        exclude: Iterable[str] = (),
    ) -> Worker:
        """A worker in this process: `async with app.worker():`, or `await app.worker().run()`.

        `queues` are the whole names of the queues that it serves, all by default; `exclude` are queues that it does not
        serve. Events are relayed, and jobs rescued, by every worker, whatever it serves. Unknown names raise
        `InvalidArgument` when it starts.

        `lease` and `grace`, in seconds, and `max_tasks_per_child` overrule the application's. A worker judges the
        others by its own lease, so all that share a store should have one. Raises `AlreadyBound` and `InvalidArgument`;
        what keeps it from starting (`WrongSchema`, `MissingHandler` …) is raised when it starts.
        """
        self._take_domains()
        settings = _limited(_set(self._settings, lease=lease, grace=grace), max_tasks_per_child)
        settings = replace(settings, queues=_names("queues", queues), exclude=_names("exclude", exclude))
        return Worker(self.store, self.catalog, settings, self._child_config, self.refusals)

    async def drain(self) -> None:
        """Run what is ready, with a real worker in this process, until nothing is left; for tests and scripts.

        Events are fanned out and delivered, those of `publish_soon` too, and what that sends is run as well. What is
        due later stays, retries that wait for their backoff among it, and so does what is in paused queues.
        Raises `AlreadyBound`, `WrongSchema`, `MissingHandler` and `StoreError`.
        """
        rail = self._connections.rail
        async with self.worker() as worker:
            worker.telemetry.tracebacks = True
            await worker.parts.promoter.stop()  # a drain promotes by itself: nothing becomes ready behind its last look
            taken = -1
            while taken != rail.taken:
                taken = rail.taken
                await rail.flush()
                await worker.drain()

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _set(settings: WorkerSettings, **seconds: float | None) -> WorkerSettings:
    """The settings, changed by what is given. Raises `InvalidArgument`."""
    given: dict[str, Any] = {name: number for name, number in seconds.items() if number is not None}
    for name, number in given.items():
        if not isinstance(number, int | float) or (
            not 0 < number < float("inf") and not (name == "grace" and number == 0)
        ):
            raise InvalidArgument(f"{name} is a number of seconds above 0, not {number!r}")
        if name == "lease" and number < SHORTEST_LEASE:
            raise InvalidArgument(
                f"lease is {SHORTEST_LEASE} seconds or more, not {number!r}: workers that show no life for so long are "
                "declared dead"
            )
    return replace(settings, **given)


def _names(option: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise InvalidArgument(f"{option} takes several names: write {option}=[{names!r}]")
    return frozenset(names)


def _limited(settings: WorkerSettings, max_tasks_per_child: int | None) -> WorkerSettings:
    """The settings, changed if a number is given. Raises `InvalidArgument`."""
    if max_tasks_per_child is None:
        return settings
    if not isinstance(max_tasks_per_child, int) or isinstance(max_tasks_per_child, bool) or max_tasks_per_child < 1:
        raise InvalidArgument(f"max_tasks_per_child is a number of jobs, 1 or more, not {max_tasks_per_child!r}")
    return replace(settings, max_tasks_per_child=max_tasks_per_child)


class SyncRemit:
    """`app.sync`: the same, blocking. `with app.sync:` opens the application and closes it."""

    def __init__(self, app: Remit, connections: _Connections) -> None:
        self._app = app
        self._connections = connections
        runs = BlockingRuns(connections.blocking)
        self.jobs = SyncJobs(Jobs(runs, app.catalog.called))
        self.queues = SyncQueues(Queues(runs, lambda: app.catalog.queues))
        self.workers = SyncWorkers(Workers(runs))
        self.events = SyncEvents(Events(runs, app.catalog.event_called))
        self.subscriptions = SyncSubscriptions(Subscriptions(runs, app._declared, app._domain_names, app._compare))

    def __enter__(self) -> Self:
        self._app._take_domains()
        schema.check(self._app.store)
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close_blocking()

    def migrate(self) -> list[str]:
        """Bring the database to the schema that this release needs; answers what ran."""
        return self._app._migrate()

    def drain(self) -> None:
        """Run what is ready until nothing is left, on an event loop of its own.

        Raises `RunningLoop` where an event loop runs, and what `drain` of the application raises.
        """
        if _in_event_loop():
            raise RunningLoop("app.sync.drain() cannot run inside an event loop: write `await app.drain()`")
        asyncio.run(self._app.drain())


class _Connections:
    """The open databases of an application: one per event loop, one for blocking code; anew after a fork."""

    def __init__(self, app: Remit, rail: Rail) -> None:
        self._store = app.store
        self._checked = False
        self._inherited: list[object] = []
        self._begin()
        self.rail = DirectRail(self._for_rail, rail)
        forks.in_children(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._awaiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Database] = weakref.WeakKeyDictionary()
        self._blocking: BlockingDatabase | None = None

    def forked(self) -> None:
        """Begin anew in a forked child. What the parent uses is kept and never touched: to close it could wait for a
        lock that a thread of the parent held.
        """
        self._inherited += [*self._awaiting.values(), self._blocking]
        self._begin()

    def awaiting(self) -> Database:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._check()
            database = self._awaiting.get(loop)
            if database is None:
                database = self._awaiting[loop] = self._store.database(Role.CLIENT)
        return database

    def blocking(self) -> BlockingDatabase:
        with self._lock:
            self._check()
            if self._blocking is None:
                self._blocking = self._store.blocking(Role.CLIENT)
            return self._blocking

    def _for_rail(self) -> BlockingDatabase:
        if not self._checked:  # without the lock: this thread is not there to give it back in a forked child
            schema.check(self._store)
        return self._store.blocking(Role.RAIL)

    def _check(self) -> None:
        if not self._checked:
            schema.check(self._store)
            self._checked = True

    def is_open(self) -> bool:
        return bool(len(self._awaiting)) or self._blocking is not None or self.rail.in_use

    async def close(self) -> None:
        await self.rail.close()
        with self._lock:
            database = self._awaiting.pop(asyncio.get_running_loop(), None)
        if database is not None:
            await database.close()
        self._close_blocking()

    def close_blocking(self) -> None:
        self.rail.close_blocking()
        self._close_blocking()

    def _close_blocking(self) -> None:
        with self._lock:
            blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking.close()


class _Runs:
    """The application's database of the running event loop."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        return await self._connections.awaiting().run(work, atomic=atomic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
