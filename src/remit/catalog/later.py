"""Delayed events: a job of each domain that publishes one of its events when it runs."""

from __future__ import annotations

import types
from typing import Any

from remit.catalog.handlers import examine
from remit.catalog.messages import Job
from remit.catalog.policies import LARGEST_PAYLOAD
from remit.catalog.publishing import event_spec_of
from remit.catalog.specs import DomainSpec, EventSpec, JobSpec, Message
from remit.codec import decode
from remit.errors import DuplicateName, UnknownEvent

SHORT_NAME = "publish-later"
OPTIONS = {
    "max_payload": LARGEST_PAYLOAD,  # the event was measured against its own limit
    "unscoped": "it carries an event, which has its own keys",
}


def later_job(domain: DomainSpec) -> JobSpec:
    """Return the domain's own job for delayed events, `<domain>.publish-later`; declared at first use."""
    name = f"{domain.name}.{SHORT_NAME}"
    if found := domain.jobs.get(name):
        if found.message.__module__ == __name__:
            return found
        raise DuplicateName(
            f"{found.path} is named {name!r}, which is the job that publishes {domain.name}'s delayed events; give it "
            "another name=."
        )
    body = {
        "__module__": __name__,
        "__doc__": "Publishes an event when it runs: its name, its version and its payload.",
        "__annotations__": {"event": str, "version": int, "payload": str},
    }
    options = {**OPTIONS, "name": name}
    job = types.new_class("PublishLater", (Job[domain.owner],), options, lambda space: space.update(body))  # type: ignore[name-defined]
    spec = domain.jobs[name]
    domain.add_handler(spec, examine(_publisher(domain), job, domain.owner, None))
    return spec


def later_message(domain: DomainSpec, event: Message[Any], limit: int) -> Job[Any]:
    """Make the job that will publish an event."""
    spec = event_spec_of(event)
    message: Any = later_job(domain).message
    return message(event=spec.name, version=spec.version, payload=spec.codec.dump(event, limit=limit))  # type: ignore[no-any-return]


def kind_of(name: str, payload: str | None) -> str:
    """The kind of a stored message, to compare two under one id: its name, and for a delayed event also the event's.

    All delayed events of a domain are jobs of one name.
    """
    if payload is None or not name.endswith(f".{SHORT_NAME}"):
        return name
    try:
        return f"{name} ({decode(payload)['event']})"
    except Exception:  # a job of the application's own that happens to have this name
        return name


def _publisher(domain: DomainSpec) -> Any:
    async def publish_later(job: Any, run: Any) -> str:
        event = _find(domain, job.event, job.version).codec.load(job.payload)
        return f"event {run.publish(event).id}"

    return publish_later


def _find(domain: DomainSpec, name: str, version: int) -> EventSpec:
    spec = domain.events.find(name, version)
    if spec is None:
        raise UnknownEvent(
            f"{domain.name} no longer has an event {name!r} of version {version}, which this job was to publish; "
            "restore the class of that version, give the class that replaced it aliases=, or delete the job."
        )
    return spec
