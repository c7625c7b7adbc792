"""What a handler is told about its run, and what it may ask of it. The runtime implements it."""

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
        """Run one statement, with the driver's own placeholders, and give its rows."""
        ...


class SyncRunTransaction(Protocol):
    """The same for blocking handlers."""

    @property
    def connection(self) -> Any:
        """The driver's connection, for a query builder or an ORM. Never commit it."""
        ...

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, with the driver's own placeholders, and give its rows."""
        ...


class SyncRun(ABC):
    """The waiting verbs of a run, for blocking handlers: `run.sync`."""

    @abstractmethod
    def complete(self, result: object = None, *, tx: object | None = None) -> None:
        """Complete the job inside a transaction; see `Run.complete`."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[SyncRunTransaction]:
        """Open a transaction that completes the job when the block ends; see `Run.transaction`."""


class Run(ABC, Generic[D_co]):
    """One attempt at a job, as its handler sees it. `Run[Billing]` knows its domain, and the context by the domain.

    The everyday members never wait, so they are the same in async, blocking and process handlers.
    """

    key: str
    """The idempotency key for effects outside the database: the same through retries and replays."""

    job_id: str
    """The id of the job, as `JobRef.id` gave it."""

    name: str
    """The whole name of the job, or of the subscription."""

    message: Message[Any]
    """The job, or the event, that the handler is given."""

    attempt: int
    """Which attempt this is: 1, 2 …"""

    attempts: int
    """How many there are in all; this is the last one when `attempt` equals it."""

    event: Envelope | None
    """What came with the event that this run delivers; None in the run of a job."""

    result: object
    """What to keep as the result: a JSON value. What the handler returns, unless that is None, replaces it."""

    @property
    @abstractmethod
    def context(self: Run[Owner[C]]) -> C:
        """What the domain's context factory yielded."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether this run is to stop: its job was asked to, its time is up, its worker stops, or its lease is lost.

        A handler that returns then has completed its job; one that calls `check` has stopped.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `Cancelled` if this run is to stop, that is, if `cancelled` is true.

        A job that was asked to stop then ends as `cancelled`. One whose time is up has failed, and one whose worker
        stops runs again: whatever the handler raises, these keep their outcome.

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
        """Send a job of the same domain if, and only if, this run succeeds.

        Buffered, checked at once, and written in the transaction of the outcome. Takes the options of
        `Domain.enqueue`; raises its errors.
        """

    @abstractmethod
    def publish(self: Run[D2], event: Event[D2], **options: Unpack[PublishOptions]) -> EventRef:
        """Publish an event of the same domain if, and only if, this run succeeds.

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
        transaction of its own. The completion counts when the caller has committed: if it rolls back, the run failed.

        Raises `LeaseLost` if the job is another's by now, and the database then refuses the whole transaction, whatever
        the caller catches; `InvalidTransition` if the run is complete already; `TransactionError`, `StoreError`.
        """

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[RunTransaction]:
        """Open a transaction on remit's own connection that completes the job when the block ends.

        What the block writes, the result (`run.result`) and what the run has sent are one commit, so the effect happens
        exactly once. An exception inside rolls all of it back. On SQLite nobody else can write while the block lasts.

        Raises `LeaseLost`, with everything rolled back, if the job is another's by now; `InvalidTransition` if the run
        is complete already; `StoreError`.

            async with run.transaction() as tx:
                await tx.execute("update invoice set posted = true where id = %s", [job.invoice_id])
        """

    @property
    @abstractmethod
    def sync(self) -> SyncRun:
        """The waiting verbs, blocking."""
