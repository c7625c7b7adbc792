"""The other end of `processes.py`: a process that runs process-mode handlers, one after the other."""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import socket
import struct
import sys
import threading
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any

import msgspec

from remit.catalog import DomainSpec, Origin, Owner, Work, current_origin, running_domain
from remit.db.opening import open_store
from remit.db.store import Store
from remit.db.transaction import Role
from remit.errors import CatalogError
from remit.jobs.model import Claim
from remit.jobs.signals import DeadLetter, RetryAfter, Skip, Snooze
from remit.jobs.states import Failure
from remit.runtime.gate import Gate
from remit.runtime.outcomes import LONGEST_MESSAGE, describe, lineage, storable
from remit.runtime.processes import READY, Call, Log, Reply, Surroundings
from remit.runtime.runs import LiveRun, Services
from remit.telemetry import Telemetry

_LENGTH = struct.Struct(">I")


class Child:
    """Reads calls from the parent, runs them, writes replies. Ends with the parent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._run: LiveRun | None = None
        self._logs: list[Log] = []
        self._refusals: list[tuple[str, str, str]] = []
        self._contexts: dict[str, object] = {}
        self._stack = ExitStack()
        self._surroundings = msgspec.msgpack.decode(self._read(), type=Surroundings)
        self._catalog = self._surroundings.catalog()
        self._gate = Gate(self._catalog, self._refuse)
        self._store: Store | None = None

    def serve(self) -> None:
        threading.Thread(target=self._listen, daemon=True, name="remit-parent").start()
        self._send(READY)
        while True:
            self._send(self._handle(self._calls.get()))

    def _send(self, frame: object) -> None:
        body = msgspec.msgpack.encode(frame)
        self._connection.sendall(_LENGTH.pack(len(body)) + body)

    def _read(self) -> bytes:
        [length] = _LENGTH.unpack(self._receive(_LENGTH.size))
        return self._receive(length)

    def _receive(self, count: int) -> bytes:
        body = b""
        while len(body) < count:
            chunk = self._connection.recv(count - len(body))
            if not chunk:
                os._exit(0)  # the parent is gone: nobody wants what this process still does
            body += chunk
        return body

    def _listen(self) -> None:
        while True:
            frame = msgspec.msgpack.decode(self._read())
            if frame == "cancel":
                if self._run is not None:
                    self._run.ask_cancel()
            else:
                self._calls.put(msgspec.convert(frame, Call))

    def _handle(self, call: Call) -> Reply:
        self._logs, self._refusals = [], []
        try:
            function = _find(call.path)
            owner: type[Owner[Any]] = _find(call.domain)
            declared = _find(call.job).__remit__
            work: Work = owner.__remit__.subscriptions.find(call.name, declared.version) or declared
            message = work.codec.load(call.payload)
            run = self._live_run(call, work, owner)
        except BaseException as error:
            return self._failed(error, None)
        self._run = run
        token = running_domain.set(run.domain)
        origin = current_origin.set(Origin(call.correlation, call.id, call.traceparent))
        try:
            returned = function(message, run)
        except BaseException as error:
            return self._raised(error, run)
        finally:
            running_domain.reset(token)
            current_origin.reset(origin)
            self._run = None
        return self._reply("completed", run, result=run.returned(returned))

    def _live_run(self, call: Call, work: Work, owner: type[Owner[Any]]) -> LiveRun:
        domain: DomainSpec = owner.__remit__
        if domain.instance is None:
            raise CatalogError(f"no instance of {call.domain} was made by importing it: write `x = {owner.__name__}()`")
        claim = Claim(
            call.id, call.token, 0, call.failures, call.attempts, False, "json", call.payload, None, call.correlation,
            call.name, call.traceparent, call.envelope,
        )  # fmt: skip
        policy = self._catalog.policy(work)
        services = Services(
            store=self._opened(),
            database=_no_loop,
            blocking=lambda: self._opened().blocking(Role.HANDLER),
            telemetry=Telemetry(call.worker),
            gate=self._gate,
            journal=self._journal,
        )
        return LiveRun(claim, work, policy, domain.instance, self._context(domain), call.worker, services)

    def _opened(self) -> Store:
        if self._store is None:
            here = self._surroundings
            self._store = open_store(here.url, schema=here.schema, pooler=here.pooler)
        return self._store

    def _context(self, domain: DomainSpec) -> object:
        """The domain's context, opened once in this process."""
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

    def _journal(self, job: str, attempt: int, record: logging.LogRecord) -> None:
        self._logs.append(Log(record.levelno, record.created, storable(record.getMessage(), LONGEST_MESSAGE)))

    def _refuse(self, domain: str, message: str, kind: str) -> None:
        self._refusals.append((domain, message, kind))

    def _raised(self, error: BaseException, run: LiveRun) -> Reply:
        match error:
            case Skip():
                return self._reply("skipped", run, text=storable(error.reason, LONGEST_MESSAGE))
            case Snooze():
                return self._reply("snoozed", run, seconds=error.seconds)
            case DeadLetter():
                return self._reply("dead", run, text=storable(error.reason, LONGEST_MESSAGE))
            case RetryAfter():
                failure = Failure("RetryAfter", storable(error.reason, LONGEST_MESSAGE))
                return self._reply("retry", run, seconds=error.seconds, failure=failure)
            case _:
                return self._failed(error, run)

    def _failed(self, error: BaseException, run: LiveRun | None) -> Reply:
        return self._reply("failed", run, failure=describe(error), lineage=lineage(type(error)))

    def _reply(self, kind: str, run: LiveRun | None, **rest: Any) -> Reply:
        completion, stamp = (run.completion.value, run.stamp) if run else ("none", 0)
        sent = run if kind == "completed" else None
        return Reply(
            kind, completion, stamp, messages=sent.messages if sent else [], events=sent.events if sent else [],
            logs=self._logs, refusals=self._refusals, **rest,
        )  # fmt: skip


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _no_loop() -> Any:
    raise RuntimeError("a process-mode handler has no event loop: use run.sync")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Child(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
