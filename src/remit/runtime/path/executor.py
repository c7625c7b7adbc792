"""Runs handlers in slots: async on the loop, blocking in threads, CPU-bound in processes.

A slot is a task that takes one job after the other, so that a job costs no task of its own. A run is stopped from
outside by `interrupt`: an async handler is cancelled, a process killed, a thread left behind. Whatever still comes of
a run that was given up is refused.

A task that was cancelled, by us or by its own handler, takes no other job: a new one takes its place. So nothing of it
reaches a later run, and nothing has to be taken back, which before Python 3.13 cannot be done in full. Each run has a
context of variables of its own, see `isolation.py`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType
from typing import Any

from remit.catalog import Hook, Owner, Subscription, Work, current_origin, running_domain
from remit.codec import ENCODING, decode
from remit.db import forks
from remit.db.transaction import Database
from remit.errors import StoreBusy, StoreUnavailable, UndecodablePayload
from remit.execution import operations as execution
from remit.execution.model import Claim
from remit.execution.settlement import settle
from remit.jobs.states import Completed, Failed, Failure, GaveUp, Interrupted, Outcome, Skipped, State
from remit.runtime.handlers import stacks
from remit.runtime.handlers.hooks import Hooks, around, around_blocking
from remit.runtime.handlers.isolation import begin, contain
from remit.runtime.handlers.outcomes import describe, outcome_of, storable, timed_out
from remit.runtime.handlers.processes import ProcessPool
from remit.runtime.handlers.returned import PLAIN, finished, finished_in_thread
from remit.runtime.handlers.runs import Completion, Interruption, LiveRun, Services
from remit.runtime.handlers.threads import Raised, ThreadPool
from remit.runtime.path.completer import Completer
from remit.runtime.path.ledger import Claims, Ledger
from remit.runtime.path.lines import Entry, Lines
from remit.runtime.path.prefetch import Prefetch
from remit.runtime.path.prober import Prober
from remit.runtime.path.settlement import Settlement
from remit.runtime.path.watchdog import Watchdog

AFTER_A_BUG = 5.0
"""Seconds after which a job is tried again whose run failed by a bug of remit's own."""


class Slot:
    """One task that runs jobs of one queue."""

    __slots__ = ("abandoned", "prefetch", "returned", "run", "task")

    def __init__(self, prefetch: Prefetch) -> None:
        self.prefetch = prefetch
        self.task: asyncio.Task[None] | None = None
        self.run: LiveRun | None = None
        self.abandoned = False
        self.returned: object = None
        """What the handler returned, until its outcome is made of it."""


class Executor:
    """All slots of a worker."""

    def __init__(
        self,
        lines: Lines,
        contexts: Mapping[str, object],
        completer: Completer,
        ordered_completer: Completer,
        prober: Prober,
        settlement: Settlement,
        claims: Claims,
        database: Database,
        services: Services,
        hooks: Hooks,
        processes: ProcessPool,
        suspect_gone: Callable[[], None],
    ) -> None:
        self._entries = lines.entries
        self._prefetches = lines.prefetches
        self._contexts = contexts
        self._completer = completer
        self._ordered_completer = ordered_completer
        self._prober = prober
        self._settlement = settlement
        self._claims = claims
        self._database = database
        self._services = services
        self._telemetry = services.telemetry
        self._hooks = hooks
        self.processes = processes
        self._suspect_gone = suspect_gone
        self._pid, self._thread = os.getpid(), threading.get_ident()
        self._threads = ThreadPool()
        self.suspect: LiveRun | None = None
        """The suspect that runs, or is about to: one at a time, see `Ledger.suspect`. It may outlive its lease."""
        self._starting = False
        self._closing = False
        self._slots: dict[asyncio.Task[None], Slot] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.active: dict[str, LiveRun] = {}
        self._variables: dict[Owner[Any], Context] = {}
        """Of each domain: the worker's own context variables, and whose handlers run. A run begins with a copy."""
        self._release: Callable[[], None] | None = None
        self.watchdog = Watchdog(self.abandon, services.telemetry)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for domain in {entry.domain for entry in self._entries.values()}:
            self._variables[domain] = copy_context()
            self._variables[domain].run(running_domain.set, domain)
        self._release = contain(self._loop)
        forks.in_children(self)
        self.watchdog.start()
        for prefetch in self._prefetches.values():
            for _ in range(prefetch.concurrency):
                self._open_slot(prefetch)

    def _open_slot(self, prefetch: Prefetch) -> None:
        slot = Slot(prefetch)
        slot.task = asyncio.create_task(self._work(slot), name=f"remit-slot {prefetch.queue}")
        self._slots[slot.task] = slot
        slot.task.add_done_callback(self._closed_slot)

    def _closed_slot(self, task: asyncio.Task[None]) -> None:
        slot = self._slots.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._telemetry.crashed("slot", error)
        if not (slot.abandoned or self._torn_down):
            self._open_slot(slot.prefetch)

    @property
    def _torn_down(self) -> bool:
        """Whether slots are to end. Who cancels all tasks of an event loop cancels the watchdog with them."""
        return self.watchdog.ended

    # --- one job after the other

    async def _work(self, slot: Slot) -> None:
        task, prefetch = slot.task, slot.prefetch
        assert task is not None
        while not (slot.abandoned or task.cancelling() or _is_doomed(task)):
            claim = await prefetch.take()
            try:
                await self._handle(claim, slot)
            except BaseException as error:
                if self._torn_down or isinstance(error, GeneratorExit):
                    raise
                self._failed(claim, slot, error)
            finally:
                if not slot.abandoned:
                    prefetch.done()

    def _failed(self, claim: Claim, slot: Slot, error: BaseException) -> None:
        """A bug of our own, or a cancellation that an earlier handler left behind, costs the job no more than a try."""
        self._telemetry.broken(claim.name, claim.id, error)
        if not slot.abandoned and self._claims.ledger.knows(claim.id, claim.token):
            self._put(claim, Failed(describe(error), AFTER_A_BUG))

    async def _handle(self, claim: Claim, slot: Slot) -> None:
        ledger = self._claims.ledger
        if not ledger.knows(claim.id, claim.token):
            return  # fenced, or released, while it waited
        entry = self._entries[claim.line]
        domain = entry.domain
        variables = self._variables[domain].copy()
        try:
            message = variables.run(_load, entry, claim)
        except UndecodablePayload as error:
            self._telemetry.undecodable(claim.name, claim.id, error)
            reason = storable(error, 1000)
            self._put(claim, GaveUp(reason, Failure("UndecodablePayload", reason)))
            return
        context = self._contexts.get(domain.__remit__.name)
        run = LiveRun(
            claim, entry.spec, entry.policy, domain, context, ledger.worker, self._services, variables, message
        )
        if (outcome := self._unwanted(entry.spec, message, run)) is not None:
            self._put(claim, outcome)
            return
        if not claim.suspect:
            await self._attempt(entry, message, run, slot)
            return
        self.suspect = run
        try:
            if await self._start_suspect(claim, ledger):
                await self._attempt(entry, message, run, slot)
        finally:
            self._leave_suspect(run)

    def _unwanted(self, spec: Work, message: Any, run: LiveRun) -> Outcome | None:
        """What becomes of a delivery that its subscription does not want, as far as only Python can tell."""
        if not isinstance(spec, Subscription) or spec.condition_call is None:
            return None
        try:
            wanted = run.variables.run(spec.condition_call, message)
        except BaseException as error:
            return self._outcome(run, error)
        return None if wanted else Skipped("its where= does not want this event")

    def _leave_suspect(self, run: LiveRun) -> None:
        if self.suspect is run:
            self.suspect = None
            self._suspect_gone()

    async def _start_suspect(self, claim: Claim, ledger: Ledger) -> bool:
        """Note the start, as something that a shutdown waits for: what is noted and not run looks like a crash."""
        self._starting = True
        self._quiet.clear()
        started = False
        try:
            started = await self._note_start(claim, ledger)
            if started and (self._closing or ledger.fenced):
                started = False
                self.give_back([claim])
        finally:
            self._starting = False
            if not started:
                self._note_quiet()
        return started

    async def _note_start(self, claim: Claim, ledger: Ledger) -> bool:
        while not ledger.fenced:
            try:
                if await self._database.run(
                    lambda tx: execution.start_suspect(tx, claim.id, token=claim.token), atomic=False
                ):
                    return True
                self._telemetry.lease_lost(claim.name, claim.id)
                ledger.drop(claim.id, claim.token)
                return False
            except (StoreUnavailable, StoreBusy):
                await asyncio.sleep(0.5)
        return False

    async def _attempt(self, entry: Entry, message: Any, run: LiveRun, slot: Slot) -> None:
        slot.run = run
        self.active[run.job_id] = run
        self._quiet.clear()
        if entry.handler.mode != "process":
            self._begin(run)
        try:
            outcome, error = await self._call(entry, message, run, slot)
        finally:
            self._leave(run, slot)
        if slot.abandoned:
            self._telemetry.late(run.name, run.job_id)
        else:
            self._settle(run, outcome, error)

    def _begin(self, run: LiveRun) -> None:
        """The handler begins: from now on the run uses up its time."""
        run.began = True
        if (timeout := run.timeout) is not None:
            self.watchdog.watch(run, timeout)

    def _leave(self, run: LiveRun, slot: Slot) -> None:
        slot.run = None
        run.stop = run.where = None
        if self.active.get(run.job_id) is run:
            del self.active[run.job_id]
        if run.deadline:
            self.watchdog.forget(run)
        self._note_quiet()

    def _note_quiet(self) -> None:
        if not self.active and not self._starting:
            self._quiet.set()

    # --- the call

    async def _call(
        self, entry: Entry, message: Any, run: LiveRun, slot: Slot
    ) -> tuple[Outcome | None, BaseException | None]:
        """Call the handler in the context of its run; answer the outcome, and the error if there was one."""
        error: BaseException | None = None
        try:
            match entry.handler.mode:
                case "async":
                    call = self._call_async(entry, message, run, slot)
                case "thread":
                    call = self._call_thread(entry, message, run, slot)
                case _:
                    call = self._call_process(entry, run, slot)
            if hooks := self._hooks.on_loop[entry.handler.mode]:
                call = self._call_within(hooks, call, run, slot)
            if (rest := begin(run.variables, call)) is not None:
                await rest
        except BaseException as raised:
            if isinstance(raised, asyncio.CancelledError) and run.interruption is None and self._torn_down:
                raise
            error = raised
        returned, slot.returned = slot.returned, None
        if isinstance(returned, Raised):
            error = returned.error
        forks.end_if_forked(self._pid, error)
        return (self._success(run, returned), None) if error is None else (self._outcome(run, error), error)

    async def _call_within(
        self, hooks: Sequence[Hook], handler: Coroutine[Any, Any, None], run: LiveRun, slot: Slot
    ) -> None:
        """Call a handler within hooks on the loop. They see how it ended: what it raised, or `run.result`."""
        current_origin.set(run.origin)
        task = slot.task
        assert task is not None
        run.stop = task.cancel

        async def call() -> None:
            error: BaseException | None = None
            try:
                await handler
            except BaseException as raised:
                error = raised
            finally:
                run.stop = task.cancel
            if isinstance(slot.returned, Raised):
                error = slot.returned.error
            if error is not None:
                raise _too_late(run, error) if run.is_late else error
            _note_result(run, slot.returned)

        try:
            await around(hooks, run, call)
        except BaseException:
            slot.returned = None
            raise
        finally:
            handler.close()  # a hook may have raised before it began

    async def _call_async(self, entry: Entry, message: Any, run: LiveRun, slot: Slot) -> None:
        current_origin.set(run.origin)
        task = slot.task
        assert task is not None
        run.stop = task.cancel
        returned = entry.handler.function(message, run)
        if isinstance(returned, CoroutineType):
            if run.deadline:
                run.where = partial(stacks.of_coroutine, returned, task)
            returned = await returned
        if type(returned) not in PLAIN:
            returned = await finished(returned)
        if run.interruption is None and _is_doomed(task):
            raise asyncio.CancelledError("the handler cancelled its own task")
        slot.returned = returned

    async def _call_thread(self, entry: Entry, message: Any, run: LiveRun, slot: Slot) -> None:
        current_origin.set(run.origin)
        loop = asyncio.get_running_loop()
        awaited: list[Future[Any]] = []

        def call() -> object:
            run.where = partial(stacks.of_thread, threading.get_ident())
            return around_blocking(self._hooks.inside, run, handle)

        def handle() -> object:
            returned = finished_in_thread(entry.handler.function(message, run), loop, awaited.append)
            if self._hooks.inside:
                _note_result(run, returned)
            return returned

        def leave_behind() -> None:
            if awaited and awaited[0].cancel():
                return  # the thread waits for what the loop cancels now
            if not future.done():
                why = run.interruption.value if run.interruption else "stopped"
                self._telemetry.thread_stuck(run.name, run.job_id, why)
                future.set_result(Raised(asyncio.CancelledError()))

        future = self._threads.call(call)
        run.stop = leave_behind
        slot.returned = await future

    async def _call_process(self, entry: Entry, run: LiveRun, slot: Slot) -> None:
        """The child outlives the run, so what belongs to it is made in the worker's own context."""
        call = self._in_process(entry, run, slot)
        if (rest := begin(self._variables[entry.domain].copy(), call)) is not None:
            await rest

    async def _in_process(self, entry: Entry, run: LiveRun, slot: Slot) -> None:
        slot.returned = await self.processes.call(entry.handler.path, run, lambda: self._begin(run))

    # --- what came of it

    def _success(self, run: LiveRun, returned: object) -> Outcome | None:
        if run.interruption is Interruption.LOST:
            return None
        return returned if isinstance(returned, Completed) else Completed(run.returned(returned))

    def _outcome(self, run: LiveRun, error: BaseException) -> Outcome | None:
        match run.interruption:
            case Interruption.LOST:
                return None
            case Interruption.SHUTDOWN:
                return Interrupted(began=run.began)
            case Interruption.TIMEOUT:
                error = _too_late(run, error)
            case None:
                pass
        claim = run.claim
        return run.variables.copy().run(
            outcome_of,
            error,
            name=run.name,
            policy=run.policy,
            failures=claim.failures,
            backoff=claim.backoff,
            telemetry=self._telemetry,
        )

    def _settle(self, run: LiveRun, outcome: Outcome | None, error: BaseException | None) -> None:
        if run.completion is Completion.COMMITTED:
            self._settlement.landed(run.end(Completed()), State.COMPLETED)
            if error is not None:
                self._telemetry.after_completion(run.name, run.job_id, error)
        elif run.completion is Completion.PROVISIONAL:
            self._prober.put(run, None if isinstance(outcome, Completed) else outcome)
        elif outcome is None:
            self._settlement.refused(run.end(Interrupted()))
        else:
            ended = run.end(outcome)
            completer = self._ordered_completer if ended.ordered else self._completer
            completer.put(ended)

    def _put(self, claim: Claim, outcome: Outcome) -> None:
        """End a claim whose handler was not called."""
        self._completer.put(settle(claim, self._entries[claim.line].spec, outcome))

    # --- from outside

    def forked(self) -> None:
        """A handler forked on the event loop. Its copy of the loop must not go on working for this worker."""
        if threading.get_ident() == self._thread:
            self._loop.call_soon(forks.end_if_forked, self._pid)

    def abandon(self, run: LiveRun) -> None:
        """An async handler did not let itself be cancelled: replace its slot, refuse what may still come of it."""
        slot = next((slot for slot in self._slots.values() if slot.run is run), None)
        if slot is None or slot.abandoned:
            return
        slot.abandoned = True
        self._telemetry.cancellation_swallowed(run.name, run.job_id)
        outcome = self._outcome(run, asyncio.CancelledError())
        self._leave(run, slot)
        self._leave_suspect(run)
        self._settle(run, outcome, asyncio.CancelledError())
        slot.prefetch.done()
        self._open_slot(slot.prefetch)

    def expired(self, claim: Claim) -> None:
        """The statement that claimed it found that its time was up, and ended it."""
        self._telemetry.expired(claim.id)
        self._settlement.landed(settle(claim, self._entries[claim.line].spec, Interrupted()), State.CANCELLED)

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Return what has not started, at no cost."""
        for claim in claims:
            self._put(claim, Interrupted())

    def wind_down(self) -> None:
        """Start nothing more."""
        self._closing = True

    def interrupt_all(self, why: Interruption) -> None:
        for run in list(self.active.values()):
            run.interrupt(why)
            if why is not Interruption.TIMEOUT:
                self.watchdog.expect_end(run)

    async def quiet(self) -> None:
        """Wait until no handler runs."""
        await self._quiet.wait()

    def on_loop(self) -> str:
        """Which job the event loop is working for now, for people; called from another thread."""
        for task, slot in list(self._slots.items()):
            if slot.run is not None and asyncio.current_task(task.get_loop()) is task:
                return f"{slot.run.name} {slot.run.job_id}"
        return "something that is not a job"

    async def close(self) -> None:
        """End all slots, whatever they do."""
        await self.watchdog.kill()
        tasks = list(self._slots)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        if self._release is not None:
            self._release()
            self._release = None
        self._threads.close()
        await self.processes.close()


def _too_late(run: LiveRun, error: BaseException) -> BaseException:
    """The error of a run that was stopped because its time was up: the one that its hooks have seen, if any has."""
    if run.too_late is None or error is not run.too_late:
        run.too_late = timed_out(run.timeout or 0, run.stood, error)
    return run.too_late


def _note_result(run: LiveRun, returned: object) -> None:
    """Show hooks what the handler returned."""
    if isinstance(returned, Completed):  # by a process, as text
        returned = None if returned.result is None else decode(returned.result)
    if returned is not None:
        run.result = returned


def _is_doomed(task: asyncio.Task[Any]) -> bool:
    """Whether a cancellation waits for the task's next await.

    No public method tells: `cancelling` counts those that were swallowed too, and before Python 3.13 `uncancel` takes
    back the count alone.
    """
    return getattr(task, "_must_cancel", False)


def _load(entry: Entry, claim: Claim) -> Any:
    if claim.encoding != ENCODING:
        raise UndecodablePayload(
            f"{claim.name}: its payload is encoded as {claim.encoding!r}, and this worker knows {ENCODING!r} only"
        )
    if claim.payload is None:
        raise UndecodablePayload(f"{claim.name}: the event that it delivers is gone")
    return entry.load(claim.payload)
