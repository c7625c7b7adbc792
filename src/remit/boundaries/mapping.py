"""The map of an application: its domains with their declarations, and the events that flow between them.

Made only from declarations, so it is the same on every machine; every drawing and every canvas is made from this value.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import asdict, dataclass
from typing import Any, cast

from remit.boundaries.checking import Application
from remit.boundaries.declared import Boundaries
from remit.boundaries.sources import OWN
from remit.catalog import Catalog, DomainSpec, EventSpec, JobSpec, MessageSpec, Queue, Subscription
from remit.catalog.versions import Versions
from remit.errors import MissingHandler


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """One field of a payload, with its type as it is written."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A queue. `concurrency` is slots in each worker process."""

    name: str
    concurrency: int


@dataclass(frozen=True, slots=True)
class JobEntry:
    """A job. `path` is `module:Class`, `about` the first line of the docstring of the class."""

    name: str
    title: str
    path: str
    about: str
    version: int
    queue: str
    fields: tuple[FieldEntry, ...]


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event, and its subscriptions."""

    name: str
    title: str
    path: str
    about: str
    version: int
    audit_only: bool
    ordered_by: str | None
    fields: tuple[FieldEntry, ...]
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubscriptionEntry:
    """A subscription. `publisher` is the domain that owns the event, `handler` is `module:function`."""

    name: str
    event: str
    publisher: str
    handler: str
    queue: str
    where: str
    ordered_by: str | None
    inline: str | None


@dataclass(frozen=True, slots=True)
class DependencyEntry:
    """A declared dependency on another domain, and the reason if one is stated."""

    uses: str
    reason: str


@dataclass(frozen=True, slots=True)
class DomainEntry:
    """A domain: its messages, publications and subscriptions, everything by name."""

    name: str
    title: str
    package: str
    about: str
    queues: tuple[QueueEntry, ...]
    jobs: tuple[JobEntry, ...]
    events: tuple[EventEntry, ...]
    subscriptions: tuple[SubscriptionEntry, ...]
    dependencies: tuple[DependencyEntry, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """One event on its way from its publisher to one subscription."""

    event: str
    publisher: str
    subscriber: str
    subscription: str


@dataclass(frozen=True)
class Map:
    """An application for drawings, domains by name."""

    domains: tuple[DomainEntry, ...]

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Every event with a subscriber, without remit's own."""
        return tuple(
            Flow(each.event, each.publisher, domain.name, each.name)
            for domain in self.domains
            for each in domain.subscriptions
            if each.publisher != OWN
        )

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"domains": [asdict(each) for each in self.domains], "flows": [asdict(each) for each in self.flows]}


_UNQUALIFIED = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def map_of(app: Application) -> Map:
    """Make the map of an application. The handlers of all domains are imported; nothing else is needed."""
    try:
        app.catalog.load_handlers()
    except MissingHandler:
        pass  # `remit check` reports it
    boundaries = app.boundaries or Boundaries()
    boundaries.check_names(app.catalog)
    specs = sorted((domain.__remit__ for domain in app.catalog.domains), key=lambda spec: spec.name)
    return Map(tuple(_domain(spec, app.catalog, boundaries) for spec in specs))


def _domain(spec: DomainSpec, catalog: Catalog, boundaries: Boundaries) -> DomainEntry:
    subscriptions, jobs = _newest(spec.subscriptions), [each for each in _newest(spec.jobs) if not _is_own(each)]
    used = [*(each.queue for each in jobs), *(each.queue for each in subscriptions)]
    queues: dict[str, Queue[Any]] = {each.name: each for each in (*spec.queues.values(), *used)}
    return DomainEntry(
        name=spec.name,
        title=spec.owner.__qualname__,
        package=spec.package,
        about=_about(spec.owner),
        queues=tuple(QueueEntry(name, queues[name].concurrency) for name in sorted(queues)),
        jobs=tuple(_job(each) for each in jobs),
        events=tuple(_event(each, catalog) for each in _newest(spec.events) if not _is_own(each)),
        subscriptions=tuple(_subscription(each) for each in subscriptions),
        dependencies=_dependencies(spec, boundaries),
    )


def _job(spec: JobSpec) -> JobEntry:
    return JobEntry(
        name=spec.name,
        title=spec.message.__qualname__,
        path=spec.path,
        about=_about(spec.message),
        version=spec.version,
        queue=spec.queue.name,
        fields=_fields(spec),
    )


def _event(spec: EventSpec, catalog: Catalog) -> EventEntry:
    return EventEntry(
        name=spec.name,
        title=spec.message.__qualname__,
        path=spec.path,
        about=_about(spec.message),
        version=spec.version,
        audit_only=spec.audit_only,
        ordered_by=spec.ordered_by,
        fields=_fields(spec),
        subscribers=tuple(sorted(each.name for each in catalog.subscriptions if each.event is spec)),
    )


def _subscription(each: Subscription) -> SubscriptionEntry:
    where = "; ".join(f"{field} in {', '.join(texts)}" for field, texts in sorted((each.condition or {}).items()))
    call = each.condition_call
    return SubscriptionEntry(
        name=each.name,
        event=each.event.name,
        publisher=each.event.domain.__remit__.name,
        handler=each.handler.path,
        queue=each.queue.name,
        where=where
        or (f"{call.__module__}:{call.__qualname__}" if call is not None and hasattr(call, "__qualname__") else ""),
        ordered_by=each.ordered_by,
        inline=each.inline,
    )


def _dependencies(spec: DomainSpec, boundaries: Boundaries) -> tuple[DependencyEntry, ...]:
    stated = [DependencyEntry(name, "") for name in (boundaries.depends or {}).get(spec.name, ())]
    allowed = [DependencyEntry(each.uses, each.reason) for each in boundaries.allow if each.domain == spec.name]
    return tuple(sorted((*stated, *allowed), key=lambda each: (each.uses, each.reason)))


def _fields(spec: MessageSpec) -> tuple[FieldEntry, ...]:
    return tuple(FieldEntry(each.name, _type(each.type)) for each in dataclasses.fields(cast("Any", spec.message)))


def _type(annotation: object) -> str:
    """A type as in the source, without the modules of classes."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__qualname__
    return annotation if isinstance(annotation, str) else _short(str(annotation))


def _short(text: str) -> str:
    """`tuple[shop.orders.Line, ...]` → `tuple[Line, ...]`, with texts in it unchanged."""
    parts = text.split("'")
    parts[::2] = [_UNQUALIFIED.sub("", part) for part in parts[::2]]
    return "'".join(parts)


def _about(cls: type) -> str:
    """The first line of a docstring that a person wrote."""
    text = inspect.cleandoc(vars(cls).get("__doc__") or "").strip()
    return "" if text.startswith(f"{cls.__name__}(") else text.partition("\n")[0].strip()


def _is_own(spec: MessageSpec) -> bool:
    return f"{spec.message.__module__}.".startswith(f"{OWN}.")


def _newest(declared: Versions[Any]) -> list[Any]:
    """The current declarations, by name; older versions, which are kept for stored messages, are not drawn."""
    return sorted(filter(declared.is_newest, declared.all), key=lambda each: each.name)
