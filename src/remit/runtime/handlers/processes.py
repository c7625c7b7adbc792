"""Process-mode handlers run in child processes, one job at a time, which are killed when their time is up.

A child is a fresh interpreter (never a fork: it would share locks and sockets) that imports the handler by its path;
see `child.py`. It leads a session of its own, and with it a process group of all that its handlers start. The group is
killed as one: at a timeout, at a shutdown, when the child dies, and when the worker does. The worker takes a child for
dead when the process has ended, not when its socket has: what it forked may hold that open.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from remit.db import forks
from remit.jobs.states import Completed
from remit.runtime.handlers.frames import (
    CHANNEL_CLOSED,
    Call,
    Cancel,
    ChildConfig,
    Ended,
    Frames,
    FromChild,
    FromWorker,
    Garbled,
    Leave,
    Log,
    Refused,
    Setup,
    Started,
    encode,
)
from remit.runtime.handlers.outcomes import RemoteError
from remit.runtime.handlers.runs import Completion, LiveRun
from remit.runtime.signals import STOPPING, cause
from remit.telemetry import Refusals

LONGEST_PREPARATION = 300.0
"""Seconds that a child may take to start, to import a handler and to open the context of its domain."""
LAST_MOMENTS = 3.0
"""Seconds in which a child must end that was asked to leave; then it is killed."""
_LAST_WORDS = 1.0
"""Seconds that the end of a process and the end of its socket may lie apart."""
_CLOSED = "closed its socket to the worker: a handler must not close descriptors that it did not open"


class ProcessDied(Exception):
    """The child process ended under its job: killed, out of memory, or crashed in C code."""


class NotPrepared(Exception):
    """A child could not call the handler: its module, the domain's context or the store is not to be had there."""


class ProcessPool:
    """Children that run one call each: as many as calls are under way, kept for the next.

    `keep` takes a log line of a job, by its id and attempt. A child leaves after `max_tasks` calls.
    """

    def __init__(
        self,
        config: ChildConfig,
        refusals: Refusals,
        keep: Callable[[str, int, logging.LogRecord], None],
        max_tasks: int | None = None,
    ) -> None:
        self._config = config
        self._refusals = refusals
        self.keep = keep
        self._max_tasks = max_tasks
        self._idle: deque[_Child] = deque()
        self._children: set[_Child] = set()

    @property
    def pids(self) -> set[int]:
        """The process ids of the children."""
        return {child.pid for child in self._children}

    async def call(self, path: str, run: LiveRun, begins: Callable[[], None]) -> Completed:
        """Run a handler in a child. `begins` is called when the handler does: what comes before is not its time.

        Raises `RemoteError` for what the handler raised, and `ProcessDied`.
        """
        while self._idle:
            child = self._idle.pop()
            try:
                return await self._call(child, path, run, begins)
            except ProcessDied:
                if child.was_used or run.interruption is not None:
                    raise
        return await self._call(await self._start(), path, run, begins)

    async def _call(self, child: _Child, path: str, run: LiveRun, begins: Callable[[], None]) -> Completed:
        claim = run.claim
        call = Call(
            path, run.domain.__remit__.path, run.spec.path, claim.id, claim.token, run.worker, run.name,
            claim.payload or "", claim.failures, claim.attempts, claim.correlation, claim.traceparent, claim.envelope,
            run.cancelled, claim.hops,
        )  # fmt: skip
        run.stop = child.kill
        run.told = lambda: child.send(Cancel(claim.token))
        try:
            if run.interruption is not None:  # it was stopped while its process was being started
                child.kill()
            ended = await child.perform(call, begins)
        except BaseException:
            child.kill()
            raise
        finally:
            run.told = None
        if not child.begun or child.calls == self._max_tasks:
            child.leave()
        else:
            self._idle.append(child)
        run.completion, run.stamp = Completion(ended.completion), ended.stamp
        run.messages.extend(ended.messages)
        run.events.extend(ended.events)
        if isinstance(ended.outcome, Completed):
            return ended.outcome
        raise RemoteError(ended.outcome)

    async def _start(self) -> _Child:
        try:
            child = await _Child.start(self._config, self._hear, self._children.discard)
        except OSError as error:  # no memory, or too many processes, at this moment
            raise ProcessDied(f"no process could be started for the handler: {error}") from error
        self._children.add(child)
        return child

    def _hear(self, frame: Log | Refused) -> None:
        match frame:
            case Log():
                record = logging.LogRecord("remit.job", frame.level, "", 0, frame.message, (), None)
                record.created = frame.created
                self.keep(frame.job, frame.attempt, record)
            case Refused():
                self._refusals.count(frame.domain, frame.message, frame.kind)

    async def close(self) -> None:
        """Let idle children leave, and kill the others; ends when all have ended."""
        children = list(self._children)
        self._idle.clear()
        for child in children:
            if child.is_busy:
                child.kill()
            else:
                child.leave()
        for child in children:
            await child.ended()


class _Child(asyncio.Protocol):
    """One child process, and the worker's end of its socket."""

    def __init__(
        self, config: ChildConfig, hear: Callable[[Log | Refused], None], gone: Callable[[_Child], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._gone = gone
        self._frames: Frames[FromChild] = Frames(FromChild)
        self._transport: asyncio.Transport | None = None
        self._call: asyncio.Future[Ended] | None = None
        self._begins: Callable[[], None] | None = None
        self._why: str | None = None
        self._leaving = False
        self._status: int | None = None
        self._exited = False
        self._hung_up = False
        self._end = asyncio.Event()
        self._lock = threading.Lock()  # between a kill and the end of the process, whose number is then used again
        self._reaped = False
        self.calls = 0
        self.begun = False
        self._popen, self._socket, self._lifeline = _spawn()
        self.pid = self._popen.pid
        forks.in_children(self)
        threading.Thread(target=self._await_exit, daemon=True, name=f"remit-child-{self.pid}").start()

    @classmethod
    async def start(
        cls, config: ChildConfig, hear: Callable[[Log | Refused], None], gone: Callable[[_Child], None]
    ) -> _Child:
        """Start a child. Raises `OSError`."""
        child = cls(config, hear, gone)
        try:
            await child._loop.create_connection(lambda: child, sock=child._socket)
        except BaseException:
            child._hung_up = True
            child._socket.close()
            child.kill()
            raise
        child.send(Setup(config, os.getpid(), sys.path, os.environ.get("PYTHONPATH")))
        return child

    @property
    def is_busy(self) -> bool:
        return self._call is not None

    @property
    def was_used(self) -> bool:
        """Whether its last call has begun or was given up; otherwise it died by itself, and nothing has run."""
        return self.begun or self._why is not None

    # --- a call

    async def perform(self, call: Call, begins: Callable[[], None]) -> Ended:
        """Run one call. Raises `ProcessDied`."""
        self.begun = False
        self.calls += 1
        self._begins = begins
        self._call = self._loop.create_future()
        late = self._loop.call_later(LONGEST_PREPARATION, self._too_late, call)
        try:
            if self._end.is_set():
                raise self._death()
            self.send(call)
            return await self._call
        finally:
            late.cancel()
            self._call = self._begins = None

    def _too_late(self, call: Call) -> None:
        if not self.begun:
            self._kill_for(
                f"was not ready after {LONGEST_PREPARATION:.0f} s: that is how long it may take to import {call.path} "
                "and to open the context of its domain"
            )

    def send(self, frame: FromWorker) -> None:
        """Send a frame, unless the child is gone; this waits for nothing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def leave(self) -> None:
        """Let the child end by itself, and kill it if it does not."""
        if not self._leaving:
            self._leaving = True
            self.send(Leave())
            self._loop.call_later(LAST_MOMENTS, self.kill)

    # --- what comes from it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derive from nothing

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except Garbled as error:
            self._kill_for(f"sent what is no message of its own ({error}): a handler wrote to its socket")

    def _take(self, frame: FromChild) -> None:
        match frame:
            case Started():
                self.begun = True
                if self._begins is not None:
                    self._begins()
            case Ended():
                if self._call is not None and not self._call.done():
                    self._call.set_result(frame)
            case Log() | Refused():
                self._hear(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hung_up = True
        if self._exited:
            self._over()
        else:  # it is about to end, or has closed the socket
            self._loop.call_later(_LAST_WORDS, self._kill_for, _CLOSED)

    # --- its end

    def kill(self) -> None:
        """Kill it, and all that its handlers started."""
        with self._lock:
            if not self._reaped:
                _kill_group(self.pid)

    def _kill_for(self, why: str) -> None:
        self._why = self._why or why
        self.kill()

    def _await_exit(self) -> None:
        """In a thread: wait for the process, kill what it left behind, and report its status."""
        is_ours = _await_end(self._popen)
        with self._lock:
            if is_ours:
                _kill_group(self.pid)
            status = self._popen.wait()
            self._reaped = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._exit, status if is_ours else None)

    def _exit(self, status: int | None) -> None:
        self._exited, self._status = True, status
        if status == CHANNEL_CLOSED:
            self._why = self._why or _CLOSED
        os.close(self._lifeline)
        self._lifeline = -1
        if self._hung_up or self._transport is None:
            self._over()
        else:  # what it sent last is read first, unless somebody holds the socket open
            self._loop.call_later(_LAST_WORDS, self._transport.abort)

    def _over(self) -> None:
        self._end.set()
        self._gone(self)
        if self._call is not None and not self._call.done():
            self._call.set_exception(self._death())

    def _death(self) -> ProcessDied:
        when = "" if self.begun else " before the handler began"
        return ProcessDied(f"the process of the handler {self._why or f'died{when}: {_reason(self._status)}'}")

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self._end.wait()

    def forked(self) -> None:
        """A forked child of the worker must keep neither the socket nor the lifeline open."""
        for descriptor in (self._socket.fileno(), self._lifeline):
            if descriptor >= 0:
                forks.detach(descriptor)


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """Start the interpreter of a child: the process, our end of its socket, and our end of its lifeline.

    The lifeline is a pipe without data that the worker alone holds open. Its end kills the child, see `child.py`.
    """
    ours, theirs = socket.socketpair()
    watched, lifeline = os.pipe()
    paths = os.pathsep.join(path for path in sys.path if path)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # the child inherits that, until it has handlers
    try:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "remit.runtime.handlers.child", str(theirs.fileno()), str(watched)],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), watched],
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
    except BaseException:
        ours.close()
        os.close(lifeline)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        os.close(watched)
    return popen, ours, lifeline


def _await_end(popen: subprocess.Popen[bytes]) -> bool:
    """Wait until a process has ended and leave it a zombie, so that nothing else gets its number.

    False if its status is not to be had: the application waits for, or ignores, all children of this process.
    """
    if sys.platform == "darwin":  # it has no waitid before Python 3.13
        popen.wait()
        return True
    try:
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of zombies
        os.killpg(leader, signal.SIGKILL)


def _reason(status: int | None) -> str:
    if status is None:
        return "its exit status is not known, since the application waits for the children of its worker"
    if status == -signal.SIGKILL:
        return f"{cause(status)}, which the system sends when memory runs out"
    return cause(status)
