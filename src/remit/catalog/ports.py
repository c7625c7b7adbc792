"""The protocols between a domain and the rest: the ports of use cases, and the sender that an application binds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from typing_extensions import Unpack

from remit.catalog.calls import EnqueueOptions, EnqueueRequest
from remit.catalog.events import Event
from remit.catalog.messages import Job
from remit.catalog.policies import Policy
from remit.catalog.publishing import PublishOptions, PublishRequest
from remit.catalog.specs import D, EventSpec, JobSpec, Message, Owner


@dataclass(frozen=True, slots=True)
class JobRef:
    """The result of an enqueue.

    `id` is a UUIDv7 as text, known before the commit. `duplicate` is True if a job with the same id already existed;
    `id` is then that job's.
    """

    id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class EventRef:
    """The result of a publish.

    `id` is a UUIDv7 as text, known before the commit, which every subscriber sees as `run.event.id`. `duplicate` is
    True if an event with the caller's own `id=` already existed.
    """

    id: str
    duplicate: bool = False


class Scheduler(Protocol[D]):
    """The port that a use case depends on: `Scheduler[Billing]`. `Billing` satisfies it; a test passes a fake."""

    async def enqueue(self, job: Job[D], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Send one job; see `Domain.enqueue`."""
        ...

    async def enqueue_many(
        self, jobs: Iterable[Job[D]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Send several jobs in one round trip; see `Domain.enqueue_many`."""
        ...


class Publisher(Protocol[D]):
    """The port that a use case depends on: `Publisher[Billing]`. `Billing` satisfies it; a test passes a fake."""

    async def publish(
        self, event: Event[D], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> EventRef:
        """Publish one event; see `Domain.publish`."""
        ...

    async def publish_many(
        self, events: Iterable[Event[D]], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> list[EventRef]:
        """Publish several events in one round trip; see `Domain.publish_many`."""
        ...


class Sender(Protocol):
    """Writes requests for domains; an application binds it. The references are in the order of the requests."""

    @property
    def in_use(self) -> bool:
        """Whether its application is open, so that no other may take the domain."""
        ...

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        """Write the requests, on the caller's transaction `tx` or in a short one of its own."""
        ...

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        """Do the same without an event loop."""
        ...

    async def publish(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        """Write events, on the caller's transaction `tx` or in a short one of its own."""
        ...

    def publish_blocking(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        """Do the same without an event loop."""
        ...

    async def publish_soon(self, request: PublishRequest) -> EventRef:
        """Put an event into the buffer of the direct rail, waiting while it is full."""
        ...

    def publish_soon_blocking(self, request: PublishRequest) -> EventRef:
        """Do the same without an event loop."""
        ...

    async def flush(self) -> None:
        """Wait until everything that was in the buffer is written."""
        ...

    def flush_blocking(self) -> None:
        """Do the same without an event loop."""
        ...

    def refused(self, domain: str, message: str, kind: str) -> None:
        """Count and log a message (a "job", an "event") that a domain may not send."""
        ...


class Directory(Protocol):
    """Knows all domains of an application: their jobs by name, and their policies."""

    def by_name(self, name: str, version: int | None = None) -> JobSpec:
        """Find a job by its full name or an alias, the newest version by default. Raises `UnknownJob`."""
        ...

    def policy(self, spec: JobSpec) -> Policy:
        """Return the resolved policy of a job."""
        ...

    def limit(self, spec: EventSpec) -> int:
        """Return the bytes that the payload of an event may have."""
        ...

    def keep(self, spec: EventSpec) -> float:
        """Return the seconds that an event stays after its last delivery has ended."""
        ...

    def scope(self, message: Message[Any]) -> str | None:
        """Return the scope keys that a message carries, as JSON text."""
        ...


running_domain: Final[ContextVar[Owner[Any] | None]] = ContextVar("running_domain", default=None)
"""The domain whose handler runs here. The executor sets it; another domain then refuses to send."""
