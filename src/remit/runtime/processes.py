"""CPU-bound handlers run in child processes, one job at a time, killed when their time is up.

A child is a fresh interpreter (never a fork: it would share locks and sockets) that imports the handler by its path.
Parent and child exchange frames of msgpack on a socket; payloads stay bytes. A child ends when the socket does, so it
does not outlive its parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from remit.catalog import Catalog, Defaults, LogRetention, Retry
from remit.catalog.quantities import in_seconds_or_forever
from remit.jobs.states import Completed, Failed, Failure, GaveUp, Interrupted, Outcome, Skipped, Snoozed
from remit.runtime.outcomes import RemoteFailure, outcome_of, timed_out
from remit.runtime.runs import Completion, Interruption, LiveRun
from remit.telemetry import Refusals, Telemetry

_LENGTH = struct.Struct(">I")
READY = "ready"
LONGEST_START = 60.0
"""Seconds in which a child must be ready. They are not counted as time of the job, whose timeout begins after that."""


class Call(msgspec.Struct, frozen=True):
    """One job for a child."""

    path: str
    domain: str
    job: str
    id: str
    token: int
    worker: str
    name: str
    payload: str
    failures: int
    attempts: int
    correlation: str
    traceparent: str | None
    envelope: str | None


class Log(msgspec.Struct, frozen=True):
    """A line that the handler logged."""

    level: int
    created: float
    message: str


class Reply(msgspec.Struct, frozen=True):
    """What became of it in the child. `kind` is completed, skipped, snoozed, dead or failed."""

    kind: str
    completion: str
    stamp: int
    result: str | None = None
    text: str = ""
    seconds: float = 0.0
    failure: Failure | None = None
    lineage: tuple[str, ...] = ()
    messages: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    logs: list[Log] = []
    refusals: list[tuple[str, str, str]] = []
    """Messages that it tried to send and may not: domain, message, kind."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a child needs to know of the application, beside its code: where its store is, and what it says of messages.

    `keep` is for events; it and `expires` are in seconds.
    """

    url: str
    schema: str
    pooler: bool
    scope: tuple[str, ...]
    keep: float
    attempts: int | None
    priority: int | None
    expires: float | None
    max_payload: int | None

    @classmethod
    def of(cls, catalog: Catalog, url: str, *, schema: str, pooler: bool) -> Self:
        said = catalog.defaults
        attempts = None if said.retry is None else said.retry.attempts
        expires = None if said.expires is None else in_seconds_or_forever("expires", said.expires)
        return cls(
            url,
            schema,
            pooler,
            catalog.scope_keys,
            catalog.log.keep,
            attempts,
            said.priority,
            expires,
            said.max_payload,
        )

    def catalog(self) -> Catalog:
        """The application's catalog without its domains, for what the child sends; the parent sees to the rest."""
        said = Defaults(
            retry=Retry(attempts=self.attempts),
            priority=self.priority,
            expires=self.expires,
            max_payload=self.max_payload,
        )
        return Catalog([], said, self.scope, log=LogRetention(keep=self.keep, archive=False, archived_for=None))


class ProcessCrew:
    """Children that run one call each; as many as calls are under way, kept for the next."""

    def __init__(self, surroundings: Surroundings, telemetry: Telemetry, refusals: Refusals) -> None:
        self._surroundings = surroundings
        self._refusals = refusals
        self._telemetry = telemetry
        self._idle: deque[_Child] = deque()
        self._children: set[_Child] = set()

    async def call(
        self, path: str, run: LiveRun, begins: Callable[[], None]
    ) -> tuple[Outcome | None, BaseException | None]:
        """Run a handler in a child; answers its outcome, and its error if it raised. `begins` is called in between:
        when the child is ready.
        """
        try:
            child = await self._child()
        except (EOFError, OSError, TimeoutError) as cause:
            error = ProcessDied(f"no process could be started for the handler: {type(cause).__name__} {cause}")
            return self._failed(error, run), error
        begins()
        run.stop = child.kill
        if run.interruption is not None:  # it was stopped while its process was being started
            child.kill()
        claim = run.claim
        owner = run.domain.__remit__.path
        call = Call(path, owner, run.spec.path, claim.id, claim.token, run.worker, run.name, claim.payload or "",
                    claim.failures, claim.attempts, claim.correlation, claim.traceparent, claim.envelope)  # fmt: skip
        run.told = child.tell_cancel
        try:
            reply = await child.call(call)
        except (EOFError, OSError):
            self._children.discard(child)
            return await self._died(child, run)
        finally:
            run.told = None
        self._idle.append(child)
        for line in reply.logs:
            run.keep_log(line.level, line.created, line.message)
        for refused in reply.refusals:
            self._refusals.count(*refused)
        run.messages.extend(reply.messages)
        run.events.extend(reply.events)
        run.completion, run.stamp = Completion(reply.completion), reply.stamp
        return self._outcome(reply, run)

    async def _died(self, child: _Child, run: LiveRun) -> tuple[Outcome | None, BaseException | None]:
        status = await child.wait()
        match run.interruption:
            case Interruption.LOST:
                return None, None
            case Interruption.SHUTDOWN:
                return Interrupted(began=True), None
            case Interruption.TIMEOUT:
                error: BaseException = timed_out(run.policy.timeout or 0)
            case _:
                error = ProcessDied(f"the process of the handler died: {_cause(status)}")
        return self._failed(error, run), error

    def _outcome(self, reply: Reply, run: LiveRun) -> tuple[Outcome | None, BaseException | None]:
        if run.interruption is Interruption.LOST:
            return None, None
        match reply.kind:
            case "completed":
                return Completed(reply.result), None
            case "skipped":
                return Skipped(reply.text), None
            case "snoozed":
                return Snoozed(reply.seconds), None
            case "dead":
                return GaveUp(reply.text), None
            case _:
                failure = reply.failure or Failure("Unknown", reply.text)
                error = RemoteFailure(failure, reply.lineage)
                if reply.kind == "retry":
                    return Failed(failure, reply.seconds), error
                return self._failed(error, run), error

    def _failed(self, error: BaseException, run: LiveRun) -> Outcome:
        return outcome_of(
            error,
            name=run.name,
            policy=run.policy,
            failures=run.claim.failures,
            backoff=run.claim.backoff,
            telemetry=self._telemetry,
        )

    async def _child(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            self._children.discard(child)
        child = await _Child.start(self._surroundings)
        self._children.add(child)
        return child

    async def close(self) -> None:
        children, self._children = self._children, set()
        for child in children:
            child.kill()
        for child in children:
            await child.wait()


class ProcessDied(Exception):
    """The child process died under its job: killed, out of memory, or crashed in C code."""


class _Child:
    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, surroundings: Surroundings) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "remit.runtime.child",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=2**26)
        child = cls(process, reader, writer)
        child._send(surroundings)
        try:
            async with asyncio.timeout(LONGEST_START):
                await child._receive()
        except BaseException:
            child.kill()
            raise
        return child

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._writer.is_closing()

    def _send(self, frame: object) -> None:
        body = msgspec.msgpack.encode(frame)
        self._writer.write(_LENGTH.pack(len(body)) + body)

    async def call(self, call: Call) -> Reply:
        self._send(call)
        await self._writer.drain()
        return msgspec.msgpack.decode(await self._receive(), type=Reply)

    async def _receive(self) -> bytes:
        [length] = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        return await self._reader.readexactly(length)

    def tell_cancel(self) -> None:
        """Let the handler's `run.cancelled` be true."""
        if self.alive:
            self._send("cancel")

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> int:
        self._writer.close()
        return await self._process.wait()


def _cause(status: int) -> str:
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
