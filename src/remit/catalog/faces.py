"""The blocking versions of a domain's sending methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic

from typing_extensions import Unpack

from remit.catalog.calls import EnqueueOptions
from remit.catalog.dispatch import Dispatch
from remit.catalog.events import Event
from remit.catalog.messages import Job
from remit.catalog.ports import EventRef, JobRef
from remit.catalog.publishing import PublishOptions
from remit.catalog.recorder import taking_recorded
from remit.catalog.specs import D


class SyncFace(Generic[D]):
    """The methods of a domain for blocking code: `billing.sync.enqueue(…)`, with the same options and errors."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def enqueue(self, job: Job[D], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Send one of the domain's jobs; see `Domain.enqueue`. `tx` is a blocking handle."""
        [ref] = self._dispatch.sender.send_blocking([self._dispatch.request(job, options)], tx=tx)
        return ref

    def enqueue_many(
        self, jobs: Iterable[Job[D]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Send several jobs in one round trip; see `Domain.enqueue_many`."""
        requests = self._dispatch.requests(jobs, options)
        return self._dispatch.sender.send_blocking(requests, tx=tx) if requests else []

    def enqueue_named(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        version: int | None = None,
        tx: object | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> JobRef:
        """Send a job by name; see `Domain.enqueue_named`."""
        job = self._dispatch.build(name, payload, version)
        [ref] = self._dispatch.sender.send_blocking([self._dispatch.request(job, options)], tx=tx)
        return ref

    def publish(self, event: Event[D], *, tx: object | None = None, **options: Unpack[PublishOptions]) -> EventRef:
        """Publish one of the domain's events; see `Domain.publish`. `tx` is a blocking handle."""
        [ref] = self._dispatch.sender.publish_blocking([self._dispatch.publication(event, options)], tx=tx)
        return ref

    def publish_many(
        self, events: Iterable[Event[D]], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> list[EventRef]:
        """Publish several events in one round trip; see `Domain.publish_many`."""
        requests = self._dispatch.publications(events, options)
        return self._dispatch.sender.publish_blocking(requests, tx=tx) if requests else []

    def publish_recorded(self, *aggregates: object, tx: object | None = None) -> list[EventRef]:
        """Publish the events that objects have recorded; see `Domain.publish_recorded`."""
        with taking_recorded(aggregates, self._dispatch.domain) as events:
            return self.publish_many(events, tx=tx)

    def publish_soon(self, event: Event[D], **options: Unpack[PublishOptions]) -> EventRef:
        """Publish an event by the direct rail; see `Domain.publish_soon`."""
        return self._dispatch.sender.publish_soon_blocking(self._dispatch.publication(event, options))

    def flush(self) -> None:
        """Wait until all earlier events of `publish_soon` are written; see `Domain.flush`."""
        self._dispatch.sender.flush_blocking()

    def publish_later(self, event: Event[D], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Publish an event later; see `Domain.publish_later`."""
        return self.enqueue(self._dispatch.later(event), tx=tx, **options)
