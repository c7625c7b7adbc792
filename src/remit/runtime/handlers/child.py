"""The other end of `processes.py`: a process that runs process-mode handlers, one after the other.

It ends with its worker, however that ends and whatever its handler is doing: a thread waits for the end of the socket,
and on Linux the kernel kills the whole process group when the lifeline closes, even while C code holds the interpreter.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import logging
import os
import queue
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from contextvars import copy_context
from typing import Any, NoReturn

from remit.catalog import (
    DomainSpec,
    Hook,
    Owner,
    Subscription,
    Work,
    current_origin,
    examine_hook,
    running_domain,
)
from remit.db import forks
from remit.db.opening import open_store
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Role
from remit.errors import CatalogError
from remit.execution.model import Claim
from remit.jobs.states import Completed, Outcome
from remit.runtime import signals
from remit.runtime.handlers import django, logcontext
from remit.runtime.handlers.frames import (
    CHANNEL_CLOSED,
    Call,
    Cancel,
    Ended,
    Frames,
    FromChild,
    FromWorker,
    Leave,
    Log,
    Refused,
    Setup,
    Started,
    encode,
)
from remit.runtime.handlers.gate import Gate
from remit.runtime.handlers.hooks import around_blocking
from remit.runtime.handlers.outcomes import Raised, ending
from remit.runtime.handlers.processes import NotPrepared
from remit.runtime.handlers.returned import finished_without_loop
from remit.runtime.handlers.runlog import text_of
from remit.runtime.handlers.runs import LiveRun, Services
from remit.telemetry import Telemetry

LOOK_AT_PARENT = 1.0
"""Seconds between two looks at the parent, which may be gone while somebody else holds its end of the socket open."""
_CHUNK = 2**18


class Child:
    """Reads calls from the worker, runs them, writes what comes of them. Ends with the worker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._frames = channel.frames()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._run: LiveRun | None = None
        self._cancelled = 0
        self._contexts: dict[str, object] = {}
        self._stack = ExitStack()
        setup = next(self._frames, None)
        if not isinstance(setup, Setup):
            channel.cut_off()
        channel.parent = setup.worker
        _take_paths(setup)
        logcontext.install()
        self._config = setup.config
        self._catalog = self._config.catalog()
        self._gate = Gate(self._catalog, self._refuse, self._config.max_hops)
        self._store: Store | None = None
        self._database: BlockingDatabase | None = None
        self._telemetry = Telemetry()
        self._imported_hooks: list[Hook] | None = None

    def serve(self) -> None:
        """Run calls until the worker lets this process go."""
        threading.Thread(target=self._listen, daemon=True, name="remit-parent").start()
        with self._stack:
            while (call := self._calls.get()) is not None:
                self._channel.send(self._handle(call))

    def _listen(self) -> None:
        try:
            for frame in self._frames:
                match frame:
                    case Cancel(token):
                        self._cancel(token)
                    case Leave():
                        self._calls.put(None)
                    case Call():
                        self._calls.put(frame)
                    case Setup():
                        pass  # it comes once, before all others
        finally:
            self._channel.cut_off()

    def _cancel(self, token: int) -> None:
        self._cancelled = token
        if (run := self._run) is not None and run.claim.token == token:
            run.ask_cancel()

    def _handle(self, call: Call) -> Ended:
        pid = os.getpid()
        try:
            function, message, run = self._prepare(call)
        except BaseException as error:
            return _ended(ending(_not_prepared(call, error)))
        self._channel.send(Started())
        try:
            returned = run.variables.run(_call, function, message, run, self._hooks())
            forks.end_if_forked(pid)
        except BaseException as error:
            forks.end_if_forked(pid, error)
            return _ended(ending(error), run)
        finally:
            self._run = None
        return _ended(Completed(run.returned(returned)), run)

    def _prepare(self, call: Call) -> tuple[Any, Any, LiveRun]:
        """Import and open what the handler needs; nothing of it counts as time of the job."""
        function = _find(call.path)
        owner: type[Owner[Any]] = _find(call.domain)
        declared = _find(call.job).__remit__
        work: Work = owner.__remit__.subscriptions.find(call.name, declared.version) or declared
        message = work.codec.load(call.payload)
        handler = work.handler if isinstance(work, Subscription) else owner.__remit__.handlers.get(work)
        if handler is not None and handler.path == call.path:
            function = handler.function  # a wrapper has the name of what it wraps, which may be another function
        if self._imported_hooks is None:
            self._imported_hooks = [examine_hook(_find(path)) for path in self._config.hooks]
        run = self._run = self._live_run(call, work, owner, message)
        if call.cancelled or self._cancelled == call.token:
            run.ask_cancel()
        return function, message, run

    def _hooks(self) -> list[Hook]:
        """What is done around each run in this process; known once a handler is imported, by which Django is set up."""
        own = django.hook()
        return [*([own] if own else []), *(self._imported_hooks or [])]

    def _live_run(self, call: Call, work: Work, owner: type[Owner[Any]], message: Any) -> LiveRun:
        domain: DomainSpec = owner.__remit__
        if domain.instance is None:
            raise CatalogError(f"no instance of {call.domain} was made by importing it: write `x = {owner.__name__}()`")
        claim = Claim(
            call.id, call.token, 0, call.failures, call.attempts, False, "json", call.payload, None, call.correlation,
            call.name, call.traceparent, call.envelope, hops=call.hops,
        )  # fmt: skip
        policy = self._catalog.policy(work)
        self._telemetry.worker = call.worker
        services = Services(
            store=self._opened(),
            database=_no_loop,
            blocking=self._blocking,
            telemetry=self._telemetry,
            gate=self._gate,
            run_log=self._run_log,
        )
        context = self._context(domain)
        return LiveRun(claim, work, policy, domain.instance, context, call.worker, services, copy_context(), message)

    def _opened(self) -> Store:
        if self._store is None:
            config = self._config
            self._store = open_store(config.url, schema=config.schema, pooler=config.pooler)
        return self._store

    def _blocking(self) -> BlockingDatabase:
        if self._database is None:
            self._database = self._opened().blocking(Role.HANDLER)
        return self._database

    def _context(self, domain: DomainSpec) -> object:
        """The domain's context, opened once in this process, and closed when it leaves."""
        if domain.context is None:
            return None
        if domain.name not in self._contexts:
            manager = domain.context.open()
            if isinstance(manager, AbstractAsyncContextManager):
                raise CatalogError(
                    f"the context of {domain.name} is async, and a process-mode handler has no event loop: "
                    "make it a plain context manager, or do not use mode='process'"
                )
            self._contexts[domain.name] = self._stack.enter_context(manager)
        return self._contexts[domain.name]

    def _run_log(self, job: str, attempt: int, record: logging.LogRecord) -> None:
        self._channel.send_from_handler(Log(job, attempt, record.levelno, record.created, text_of(record)))

    def _refuse(self, domain: str, message: str, kind: str) -> None:
        self._channel.send_from_handler(Refused(domain, message, kind))


class Channel:
    """This process's end of the socket. A forked child does not have it: it must neither answer nor hold it open."""

    def __init__(self, connection: socket.socket) -> None:
        connection.set_inheritable(False)
        self.parent = os.getppid()
        self._connection = connection
        self._identity = os.fstat(connection.fileno()).st_ino
        self._outgoing: queue.SimpleQueue[tuple[FromChild, threading.Lock]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_copy = False
        forks.in_children(self)
        threading.Thread(target=self._write, daemon=True, name="remit-answers").start()

    def send(self, frame: FromChild) -> None:
        """Write a frame."""
        if self._is_copy:
            return
        data = encode(frame)
        with self._lock:
            try:
                self._check()
                self._connection.sendall(data)
            except OSError as error:
                self.cut_off(error)

    def send_from_handler(self, frame: FromChild) -> None:
        """Write a frame, and wait until it is written.

        A thread of its own writes: a handler's own signal handler may raise in the main thread at any place, in the
        middle of a frame too. For the same reason the two share a plain lock alone, one for each frame.
        """
        if not self._is_copy:
            written = threading.Lock()
            written.acquire()
            self._outgoing.put((frame, written))
            written.acquire()

    def _write(self) -> None:
        while True:
            frame, written = self._outgoing.get()
            self.send(frame)
            written.release()

    def frames(self) -> Iterator[FromWorker]:
        """What the worker sends, until it is gone."""
        frames: Frames[FromWorker] = Frames(FromWorker)
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        try:
            while True:
                while not poll.poll(LOOK_AT_PARENT * 1000):
                    if os.getppid() != self.parent:
                        return
                self._check()
                if not (chunk := self._connection.recv(_CHUNK)):
                    return
                yield from frames.feed(chunk)
        except OSError as error:
            self.cut_off(error)

    def _check(self) -> None:
        """Raise `OSError` if a handler has closed the socket; the number may stand for something else by now."""
        if os.fstat(self._connection.fileno()).st_ino != self._identity:
            raise OSError(errno.EBADF, "the socket to the worker was closed")

    def cut_off(self, error: OSError | None = None) -> NoReturn:
        """End, with all that the handlers of this process started: nobody wants what it still does."""
        if error is not None and error.errno == errno.EBADF:  # a handler closed it: the worker reports that
            os._exit(CHANNEL_CLOSED)
        try:
            os.killpg(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)

    def forked(self) -> None:
        self._is_copy = True
        with suppress(OSError):
            self._check()
            forks.detach(self._connection.fileno())


def _take_paths(setup: Setup) -> None:
    """Find modules where the worker does. What a handler starts gets the variable of the worker."""
    sys.path[:] = setup.path
    if setup.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = setup.python_path


def _ended(outcome: Outcome | Raised, run: LiveRun | None = None) -> Ended:
    if run is None:
        return Ended(outcome, "none", 0, [], [])
    if not isinstance(outcome, Completed):
        return Ended(outcome, run.completion.value, run.stamp, [], [])
    return Ended(outcome, run.completion.value, run.stamp, run.messages, run.events)


def _not_prepared(call: Call, error: BaseException) -> NotPrepared:
    text = f"the process could not prepare {call.path} for {call.name}: {type(error).__name__}: {error}"
    try:
        raise NotPrepared(text) from error
    except NotPrepared as refused:
        return refused


def _call(function: Callable[[Any, Any], Any], message: object, run: LiveRun, hooks: Sequence[Hook]) -> object:
    """Call a handler within its hooks, in the context of its run."""
    running_domain.set(run.domain)
    current_origin.set(run.origin)

    def handle() -> object:
        returned = finished_without_loop(function(message, run))
        if returned is not None and hooks:
            run.result = returned
        return returned

    return around_blocking(hooks, run, handle)


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _no_loop() -> Any:
    raise RuntimeError("a process-mode handler has no event loop: use run.sync")


def _prepare_signals() -> None:
    """Leave it to the worker to stop this process: a service manager may send its signal to all processes at once.

    The handlers do nothing. To ignore the signals would pass that on to whatever a handler starts.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or a handler could not wait for its own children
    for number in signals.STOPPING:
        signals.take(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the worker holds them back until now


def _die_with(lifeline: int) -> None:
    """Have the kernel kill this process group when the worker's end of a pipe closes."""
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # it closed before: no signal comes for that
        os._exit(1)


def main() -> None:
    """Serve the worker on the socket and with the lifeline that the arguments name."""
    _prepare_signals()
    _die_with(int(sys.argv[2]))
    Child(Channel(socket.socket(fileno=int(sys.argv[1])))).serve()


if __name__ == "__main__":
    main()
