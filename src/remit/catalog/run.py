"""The interface of a run for its handler: data and operations. The runtime implements it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar, Unpack

from remit.catalog.calls import EnqueueOptions
from remit.catalog.events import Event
from remit.catalog.messages import Job
from remit.catalog.origins import Envelope
from remit.catalog.ports import EventRef, JobRef
from remit.catalog.publishing import PublishOptions
from remit.catalog.specs import C, Message, Owner

D2 = TypeVar("D2", bound=Owner[Any])
D_co = TypeVar("D_co", bound=Owner[Any], covariant=True, default=Owner[Any])


class RunTransaction(Protocol):
    """A transaction on remit's own connection, which the completion of the run joins."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for a query builder or an ORM. Never commit it."""
        ...

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, with the driver's own placeholders, and return its rows."""
        ...


class SyncRunTransaction(Protocol):
    """The same for blocking handlers."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for a query builder or an ORM. Never commit it."""
        ...

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, with the driver's own placeholders, and return its rows."""
        ...


class SyncRun(ABC):
    """The methods of a run that wait, for blocking handlers: `run.sync`."""

    @abstractmethod
    def complete(self, result: object = None, *, tx: object | None = None) -> None:
        """Complete the job inside a transaction; see `Run.complete`."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[SyncRunTransaction]:
        """Open a transaction that completes the job when the block ends; see `Run.transaction`."""


class Run(ABC, Generic[D_co]):
    """One attempt at a job, as its handler sees it. The type `Run[Billing]` determines the domain and its context.

    The common members never wait, so they are the same in async, blocking and process handlers.
    """

    key: str
    """The idempotency key for effects outside the database: the same through retries and replays."""

    job_id: str
    """The id of the job, equal to `JobRef.id`."""

    name: str
    """The full name of the job, or of the subscription."""

    message: Message[Any]
    """The job or the event for which the handler is called."""

    attempt: int
    """The number of this attempt: 1, 2 …"""

    attempts: int
    """The total number of attempts; this is the last one when `attempt` equals it."""

    event: Envelope | None
    """The metadata of the event that this run delivers; None in the run of a job."""

    result: object
    """The result to keep: a JSON value. The return value of the handler, unless None, replaces it."""

    @property
    @abstractmethod
    def context(self: Run[Owner[C]]) -> C:
        """The value that the domain's context factory yielded."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether this run should stop: cancellation or timeout of its job, stop of its worker, or a lost lease.

        If the handler returns anyway, its job is completed; if it calls `check`, it stops.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `Cancelled` if this run should stop, that is, if `cancelled` is true.

        A cancelled job then ends as `cancelled`. A job after its timeout has failed, and a job whose worker stops runs
        again: these keep their outcome, whatever the handler raises.

            for chunk in chunks:
                run.check()
                work(chunk)
        """

    @property
    @abstractmethod
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that names the job; its lines are kept with the job."""

    @abstractmethod
    def enqueue(self: Run[D2], job: Job[D2], **options: Unpack[EnqueueOptions]) -> JobRef:
        """Send a job of the same domain if and only if this run succeeds.

        Buffered, checked at once, and written in the transaction of the outcome. Takes the options of
        `Domain.enqueue`; raises its errors.
        """

    @abstractmethod
    def publish(self: Run[D2], event: Event[D2], **options: Unpack[PublishOptions]) -> EventRef:
        """Publish an event of the same domain if and only if this run succeeds.

        Buffered, checked at once, and written in the transaction of the outcome. Takes the options of
        `Domain.publish`; raises its errors.
        """

    @abstractmethod
    def publish_later(self: Run[D2], event: Event[D2], **options: Unpack[EnqueueOptions]) -> JobRef:
        """Publish an event of the same domain later, if, and only if, this run succeeds; see `Domain.publish_later`."""

    @abstractmethod
    async def complete(self, result: object = None, *, tx: object | None = None) -> None:
        """Complete the job inside the caller's transaction, so that the effects in it happen exactly once.

        `result` is a JSON value; `tx` any handle that `enqueue` takes; without it, the job is completed in a short
        transaction of its own. The completion takes effect when the caller commits: after a rollback, the run failed.

        Raises `LeaseLost` if another worker holds the job by now, and the database then refuses the whole transaction,
        whatever the caller catches; `InvalidTransition` if the run is already complete; `TransactionError`,
        `StoreError`.
        """

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[RunTransaction]:
        """Open a transaction on remit's own connection that completes the job when the block ends.

        The writes of the block, the result (`run.result`) and the messages of the run are one commit, so the effect
        happens exactly once. An exception inside rolls all of it back. On SQLite the block blocks all other writers.

        Raises `LeaseLost`, with everything rolled back, if the job is another's by now; `InvalidTransition` if the run
        is complete already; `StoreError`.

            async with run.transaction() as tx:
                await tx.execute("update invoice set posted = true where id = %s", [job.invoice_id])
        """

    @property
    @abstractmethod
    def sync(self) -> SyncRun:
        """The methods that wait, blocking."""
