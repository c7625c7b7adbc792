"""A worker: its life from start to stop, and its new life after a lost lease. `parts.py` puts its parts together."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Self

from remit import schema
from remit.catalog import Catalog
from remit.db.store import Store
from remit.db.transaction import Role
from remit.errors import StoreError
from remit.jobs import operations as jobs
from remit.runtime import operations
from remit.runtime.duties.registrar import Registrar
from remit.runtime.duties.relay import Relay
from remit.runtime.handlers import logcontext
from remit.runtime.handlers.frames import ChildConfig
from remit.runtime.handlers.runs import Interruption
from remit.runtime.lease.heartbeat import Heartbeat
from remit.runtime.lease.liveness import liveness_of
from remit.runtime.lease.registration import Registration
from remit.runtime.loop import Signal, Signals
from remit.runtime.parts import Parts
from remit.runtime.path.ledger import Claims
from remit.runtime.path.lines import Lines
from remit.runtime.settings import WorkerSettings
from remit.runtime.signals import give_back, take
from remit.telemetry import Refusals, Telemetry, enable

LAST_MOMENTS = 3.0
"""Seconds that interrupted runs get to end, after the deadline of a shutdown."""


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
        self._signals = Signals()
        self.claims = Claims(self._signals.sender(Signal.WORK))
        self.telemetry = Telemetry(self.claims.ledger.worker)
        self.lines: Lines
        """From its start on, as `parts`."""
        self.parts: Parts
        self._child_config = child_config
        self._refusals = refusals or Refusals()
        self._contexts: dict[str, object] = {}
        self._passive = False
        self._stack = AsyncExitStack()
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self._built = False
        self._started = False
        self._fencing: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The id of this incarnation; never used again."""
        return self.claims.ledger.worker

    def passive(self, catalog: Catalog, contexts: Mapping[str, object]) -> Worker:
        """A worker with these settings that claims nothing and has no duties: it runs what is put into its prefetches.

        `contexts`, by domain, are used instead of opening the contexts of these domains.
        """
        other = Worker(self.store, catalog, self.settings, self._child_config, self._refusals)
        other._contexts.update(contexts)
        other._passive = True
        return other

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
        served = self.settings.served(self.catalog.queues)
        self.lines = Lines(self.catalog, served, self._signals.sender(Signal.WORK), self.telemetry)
        try:
            await self._open_contexts()
            self._build()
            await self.parts.get(Registrar).enter()
            await self._registration.enter(self.id)
            self.parts.start(passive=self._passive)
        except BaseException:
            await self.close()
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
        executor = self.parts.executor
        await _within(self.parts.producer.stop(), LAST_MOMENTS)
        for prefetch in self.lines.prefetches.values():
            executor.give_back(prefetch.empty())
        executor.wind_down()
        deadline = time.monotonic() + self.settings.grace
        await self._wait_for_runs(max(0.0, deadline - time.monotonic()))
        if executor.active:
            self.telemetry.interrupting(len(executor.active))
            executor.interrupt_all(Interruption.SHUTDOWN)
            await _within(executor.quiet(), LAST_MOMENTS)
            for run in list(executor.active.values()):
                executor.abandon(run)
        await self._flush()
        await self.close()

    async def _wait_for_runs(self, seconds: float) -> None:
        quiet = asyncio.create_task(self.parts.executor.quiet())
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({quiet, now}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (quiet, now):
            task.cancel()

    async def _flush(self) -> None:
        """What ended must be written, for as long as the lease lasts."""
        parts = self.parts
        await _within(parts.prober.settled(), LAST_MOMENTS)
        written = asyncio.gather(parts.completer.flushed(), parts.ordered_completer.flushed())
        await _within(written, self.settings.lease * 0.8)
        await _within(parts.run_log.stop(), LAST_MOMENTS)
        try:
            await _within(parts.run_log.flush(), LAST_MOMENTS)
        except StoreError as error:
            self.telemetry.log_lost(error)

    # --- the beginning

    async def _open_contexts(self) -> None:
        for domain in self.catalog.domains:
            spec = domain.__remit__
            if spec.context is not None and spec.name not in self._contexts:
                manager = spec.context.open()
                if isinstance(manager, AbstractAsyncContextManager):
                    self._contexts[spec.name] = await self._stack.enter_async_context(manager)
                else:
                    self._contexts[spec.name] = self._stack.enter_context(manager)

    def _build(self) -> None:
        self.parts = Parts(
            self.store,
            self.catalog,
            self.settings,
            self._child_config,
            self._refusals,
            claims=self.claims,
            lines=self.lines,
            contexts=self._contexts,
            signals=self._signals,
            telemetry=self.telemetry,
        )
        about = {
            "lease": self.settings.lease,
            "queues": {name: prefetch.concurrency for name, prefetch in self.lines.prefetches.items()},
            "jobs": self.lines.names,
            "subscriptions": sorted({each.name for each in self.catalog.subscriptions}),
        }
        self._registration = Registration(self.parts.databases.role(Role.LEADER), about)
        self.parts.heartbeat = self._heartbeat()
        self._built = True

    def _heartbeat(self) -> Heartbeat:
        liveness = liveness_of(self.store, self.id)
        on_loop = self.parts.executor.on_loop
        return Heartbeat(
            liveness, self.settings.lease, self.telemetry, lost=self.lose, health=self.health, on_loop=on_loop
        )

    # --- health

    def health(self) -> dict[str, Any]:
        """What this worker says about itself: `ok`, or the parts that cannot work, and why."""
        trouble = self.parts.complaints
        health: dict[str, Any] = {"ok": not trouble}
        if self._stop.is_set():
            health["stopping"] = True
        if trouble:
            health["trouble"] = trouble
        if self.lines.unknown:
            health["unknown"] = sorted(self.lines.unknown)
        if self._refusals.counts:
            health["refused"] = self._refusals.counts.total()
        return health

    # --- a lost lease

    def lose(self, why: str) -> None:
        """End this incarnation, whose lease is lost, and begin another."""
        if self._fencing is None or self._fencing.done():
            self.telemetry.fenced(self.id, why)
            self.claims.ledger.fence()
            self.parts.forget()
            self._fencing = asyncio.create_task(self._live_again(), name="remit-fencing")

    async def _live_again(self) -> None:
        """A new id, a new registration, a new heartbeat; the parts go on."""
        await self.parts.heartbeat.stop()
        fresh, pause = self.claims.next_ledger(), 0.1
        while True:
            try:
                await self._registration.enter(fresh.worker)
                break
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
        self.claims.ledger = fresh
        self.telemetry.worker = fresh.worker
        self.parts.heartbeat = self._heartbeat()
        self.parts.heartbeat.start()
        self.parts.producer.wake()

    # --- the end

    async def close(self) -> None:
        """End everything at once. What could not be written meanwhile is the rescuer's."""
        if self._fencing is not None:
            self._fencing.cancel()
            await asyncio.gather(self._fencing, return_exceptions=True)
        if self._built:
            parts = self.parts
            await parts.executor.close()
            # A second cancellation ends what the first one cannot: a statement whose server answers nothing.
            others = (loop for loop in parts.loops if loop is not parts.leader)
            await asyncio.gather(*(_within(loop.kill(), LAST_MOMENTS) for loop in others))
            await parts.prober.kill()
            await self._leave()
            await parts.databases.close()
        await self._stack.aclose()

    async def _leave(self) -> None:
        """Sign off."""
        await self.parts.heartbeat.stop()
        # An election under way may be won: a term that nobody knows of would have to run out.
        await _within(self.parts.leader.stop(), LAST_MOMENTS)
        await _within(self.parts.leader.kill(), LAST_MOMENTS)
        try:
            async with asyncio.timeout(LAST_MOMENTS):
                await self._registration.leave(self.id)
        except (StoreError, TimeoutError) as error:
            self.telemetry.not_signed_off(str(error) or f"no answer within {LAST_MOMENTS:.0f} s")

    async def drain(self) -> None:
        """Wait until nothing is left that this worker could do: no event to fan out, no lane of an ordered subscription
        to move on, no job ready, held or due. Paused queues are left alone.
        """
        database, worker = self.parts.databases.role(Role.LEADER), self.id
        while not self._stop.is_set():
            lines = self.lines.by_queue
            promoted, _ = await database.run(lambda tx: jobs.promote(tx, limit=1000), atomic=False)
            is_left = await database.run(lambda tx: operations.left(tx, worker, lines), atomic=False)  # noqa: B023
            if not (promoted or is_left or self.claims.ledger.busy):
                return
            for loop in (self.parts.get(Relay), self.parts.producer):
                loop.wake()
            await asyncio.sleep(0.005)


async def _within(wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass
