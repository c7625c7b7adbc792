"""One attempt at a job, live: what its handler sees, and what the executor needs to know about it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

from typing_extensions import Unpack

from remit.catalog import (
    EnqueueOptions,
    Envelope,
    Event,
    EventRef,
    Job,
    JobRef,
    Origin,
    Owner,
    Policy,
    PublishOptions,
    Run,
    SyncRun,
    SyncRunTransaction,
    Work,
    event_hops,
    job_hops,
    later_message,
    traceparent,
)
from remit.catalog.policies import FOREVER
from remit.codec import decode, encode
from remit.db.handles import is_blocking
from remit.db.store import Capability, Store
from remit.db.transaction import BlockingDatabase, Database, Session, Transaction, run_blocking
from remit.errors import IdTaken, InvalidTransition, LeaseLost, UnsupportedHandle
from remit.execution import operations as execution
from remit.execution.model import Claim, Ended
from remit.execution.settlement import settle
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import moment
from remit.jobs.rows import row
from remit.jobs.signals import Cancelled
from remit.jobs.states import Completed, Outcome
from remit.outbox.rows import event_row
from remit.runtime.handlers.gate import Gate
from remit.telemetry import Telemetry, own_logger

LONG_TRANSACTION = 1.0
LONGEST_RESULT = 64 * 1024
MOST_LOG_LINES = 1_000


class Interruption(Enum):
    """Why a run was stopped from outside."""

    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LOST = "lost"


class Completion(Enum):
    """How far a completion in a transaction has come."""

    NONE = "none"
    PROVISIONAL = "provisional"
    """Written on a transaction whose end is not known: the row will tell."""
    COMMITTED = "committed"


@dataclass(slots=True)
class Services:
    """What runs of one worker share."""

    store: Store
    database: Callable[[], Database]
    blocking: Callable[[], BlockingDatabase]
    telemetry: Telemetry
    gate: Gate
    run_log: Callable[[str, int, logging.LogRecord], None]


class LiveRun(Run[Any]):
    """The `Run` that handlers get."""

    # What most runs never touch stands on the class: a run costs what it uses.
    result: object = None
    interruption: Interruption | None = None
    completion = Completion.NONE
    stamp = 0
    deadline = 0.0
    began = False
    stop: Callable[[], object] | None = None
    where: Callable[[], str] | None = None
    """Tells where the handler stands, while that can be known."""
    stood: str | None = None
    """Where it stood when its time was up."""
    too_late: BaseException | None = None
    """The error of a run whose time was up, as its hooks see it."""
    told: Callable[[], None] | None = None
    _cancelled = False
    _kept: str | None = None
    _log: logging.LoggerAdapter[logging.Logger] | None = None

    def __init__(
        self,
        claim: Claim,
        spec: Work,
        policy: Policy,
        domain: Owner[Any],
        context: object,
        worker: str,
        services: Services,
        variables: Context,
        message: Any,
    ) -> None:
        self.claim = claim
        self.message = message
        self.spec = spec
        self.name = spec.name
        self.policy = policy
        self.domain = domain
        self.context_value = context
        self.worker = worker
        self.job_id = self.key = claim.id
        self.attempt = claim.failures + 1
        self.attempts = claim.attempts
        self.messages: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.variables = variables
        """The context variables of this run, which no other run sees."""
        self._services = services

    # --- what handlers use

    @property
    def context(self) -> Any:
        return self.context_value

    @property
    def cancelled(self) -> bool:
        return self._cancelled or self.interruption is not None

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        if self._log is None:
            self._log = _RunLogger(self, self._services.run_log)
        return self._log

    @cached_property
    def event(self) -> Envelope | None:  # type: ignore[override]
        return None if self.claim.envelope is None else _envelope(self.claim.envelope)

    def enqueue(self, job: Job[Any], **options: Unpack[EnqueueOptions]) -> JobRef:
        self._check_open("send")
        request = self._services.gate.job(self.domain, job, options)
        id = request.id or new_id()
        hops = job_hops(self.origin, self._services.gate.max_hops, request)
        self.messages.append(row(request, id, hops=hops, **self._cause()))
        return JobRef(id)

    def publish(self, event: Event[Any], **options: Unpack[PublishOptions]) -> EventRef:
        self._check_open("publish")
        request = self._services.gate.event(self.domain, event, options)
        id = request.id or new_id()
        hops = event_hops(self.origin, self._services.gate.max_hops, request.spec.name)
        self.events.append(event_row(request, id, hops=hops, **self._cause()))
        return EventRef(id)

    def publish_later(self, event: Event[Any], **options: Unpack[EnqueueOptions]) -> JobRef:
        self._check_open("publish")
        request = self._services.gate.event(self.domain, event, {})  # its owner and its size are checked here
        return self.enqueue(later_message(self.domain.__remit__, event, len(request.payload.encode())), **options)

    def _cause(self) -> dict[str, str | None]:
        return {"causation": self.claim.id, "correlation": self.claim.correlation, "traceparent": traceparent()}

    async def complete(self, result: object = None, *, tx: object | None = None) -> None:
        if tx is not None:
            await self._complete_on(self._services.store.adopt(tx), result)
            return
        ended = self._completing(result)
        await self._services.database().run(
            lambda own: execution.complete(own, ended, worker=self.worker, stamp=self.stamp)
        )
        self.completion = Completion.COMMITTED

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        self._check_open("open a second transaction")
        begun = time.monotonic()
        try:
            async with self._services.database().session() as session:
                yield session
                ended = self._completing(self.result)
                self.completion = Completion.PROVISIONAL
                await execution.complete(session, ended, worker=self.worker, stamp=self.stamp)
            self.completion = Completion.COMMITTED
        finally:
            self._watch_length(begun)

    @property
    def sync(self) -> _SyncRun:
        return _SyncRun(self, self._services)

    # --- what the executor uses

    @cached_property
    def origin(self) -> Origin:
        """What messages inherit from this run, however its handler sends them."""
        claim = self.claim
        return Origin(
            claim.correlation, claim.id, claim.traceparent, self.name, self.attempt, claim.hops, claim.envelope
        )

    @property
    def timeout(self) -> float | None:
        """Seconds that this run may take: as the call said, or else its policy."""
        own = self.claim.timeout
        if own is None:
            return self.policy.timeout
        return None if own >= FOREVER else own

    def end(self, outcome: Outcome) -> Ended:
        """The end of the run, with what it sends if that is to complete."""
        return settle(self.claim, self.spec, outcome, self.messages, self.events)

    def ask_cancel(self) -> None:
        """Somebody asked the job to stop."""
        if not self._cancelled:
            self._cancelled = True
            if self.told is not None:
                self.told()

    @property
    def is_late(self) -> bool:
        """Whether it was stopped because its time was up."""
        return self.interruption is Interruption.TIMEOUT

    def interrupt(self, why: Interruption) -> None:
        """Stop the run from outside, once; only a lost lease overrules another reason."""
        if self.interruption is None or why is Interruption.LOST:
            if why is Interruption.TIMEOUT and self.where is not None:
                self.stood = self.where()
            first, self.interruption = self.interruption is None, why
            if first and self.stop is not None:
                self.stop()

    def returned(self, value: object) -> str | None:
        """What is kept of what the handler returned: nothing where its job was completed before."""
        if self.completion is Completion.NONE:
            return self.result_text(value)
        if value is not None and not self._is_kept(value):
            why = "its job was completed before it returned; set run.result in the transaction"
            self._services.telemetry.no_result(self.name, self.claim.id, why)
        return None

    def _is_kept(self, value: object) -> bool:
        """Whether the job was completed with this result."""
        try:
            return encode(value) == self._kept
        except Exception:
            return False

    def result_text(self, returned: object) -> str | None:
        """What is kept as the result: JSON, and not too long; else nothing, with a warning."""
        value = self.result if returned is None else returned
        if value is None:
            return None
        try:
            text = encode(value)
        except Exception as error:
            self._services.telemetry.no_result(self.name, self.claim.id, error)
            return None
        if len(text.encode()) > LONGEST_RESULT:
            self._services.telemetry.no_result(self.name, self.claim.id, f"it has more than {LONGEST_RESULT} bytes")
            return None
        return text

    async def _complete_on(self, transaction: Transaction, result: object) -> None:
        """Complete in a transaction that somebody else ends.

        A run that was stopped, or cannot send what it would, is refused in the server too: the handler may swallow what
        is raised here, and commit.
        """
        try:
            ended = self._completing(result)
            self.completion = Completion.PROVISIONAL
            await execution.complete(transaction, ended, worker=self.worker, stamp=self.stamp)
        except (LeaseLost, IdTaken):
            with suppress(Exception):  # the refusal is an error of the server
                await execution.refuse(transaction, self.job_id)
            raise

    def _completing(self, result: object) -> Ended:
        self._check_open("complete")
        if self.interruption is not None:
            raise LeaseLost(f"the run of {self.name} {self.claim.id} was stopped ({self.interruption.value})")
        self.stamp = new_token()
        self._kept = self.result_text(result)
        return self.end(Completed(self._kept))

    def _check_open(self, what: str) -> None:
        if self.completion is not Completion.NONE:
            raise InvalidTransition(f"this run of {self.name} is complete: it cannot {what} any more")

    def _watch_length(self, begun: float) -> None:
        seconds = time.monotonic() - begun
        if seconds > LONG_TRANSACTION and Capability.SEVERAL_WRITERS not in self._services.store.capabilities:
            self._services.telemetry.long_transaction(self.name, self.claim.id, seconds)


def _envelope(text: str) -> Envelope:
    id, name, version, domain, occurred, published, scope, correlation, causation, trace, *_ = decode(text)
    return Envelope(
        id=id,
        type=name,
        version=version,
        domain=domain,
        occurred_at=moment(occurred),
        published_at=moment(published),
        scope=decode(scope) if scope else {},
        correlation=correlation,
        causation=causation,
        traceparent=trace,
    )


class _SyncTransaction:
    """The session of a blocking handler: the same verbs, run to their end. It is a handle too: `tx=tx`."""

    blocking: ClassVar[bool] = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self.dialect = session.dialect
        self.fetch = session.fetch

    @property
    def connection(self) -> Any:
        return self._session.connection

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return run_blocking(self._session.execute(sql, params))


class _SyncRun(SyncRun):
    """`run.sync`."""

    def __init__(self, run: LiveRun, services: Services) -> None:
        self._run = run
        self._services = services

    def complete(self, result: object = None, *, tx: object | None = None) -> None:
        run = self._run
        if tx is not None:
            transaction = self._services.store.adopt(tx)
            if not is_blocking(transaction):
                raise UnsupportedHandle(f"run.sync cannot wait for a {type(tx).__qualname__}: pass a blocking handle")
            run_blocking(run._complete_on(transaction, result))
            return
        ended = run._completing(result)
        self._services.blocking().run(lambda own: execution.complete(own, ended, worker=run.worker, stamp=run.stamp))
        run.completion = Completion.COMMITTED

    @contextmanager
    def transaction(self) -> Iterator[SyncRunTransaction]:
        run = self._run
        run._check_open("open a second transaction")
        begun = time.monotonic()
        try:
            with self._services.blocking().session() as session:
                yield _SyncTransaction(session)
                ended = run._completing(run.result)
                run.completion = Completion.PROVISIONAL
                run_blocking(execution.complete(session, ended, worker=run.worker, stamp=run.stamp))
            run.completion = Completion.COMMITTED
        finally:
            run._watch_length(begun)


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """`run.log`: goes to the log of the process, with the job's name and id, and is kept with the job."""

    def __init__(self, run: LiveRun, run_log: Callable[[str, int, logging.LogRecord], None]) -> None:
        super().__init__(own_logger(f"remit.job.{run.name}"), {})
        self._run = run
        self._run_log = run_log
        self._left = MOST_LOG_LINES

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        extra = {"remit_job": self._run.name, "remit_job_id": self._run.job_id, "remit_attempt": self._run.attempt}
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level >= logging.INFO and self._left > 0:
            self._left -= 1
            text = "(further lines are not kept)" if self._left == 0 else msg
            record = logging.LogRecord(self.logger.name, level, "", 0, text, args if self._left else (), None)
            self._run_log(self._run.job_id, self._run.attempt, record)
        if self.logger.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)
