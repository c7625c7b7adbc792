"""Events that aggregates collect while they change, until the unit of work publishes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Self, TypeAlias, cast, overload

from remit.catalog.events import Event
from remit.catalog.publishing import event_spec_of
from remit.catalog.specs import D, DomainSpec, Owner
from remit.errors import CatalogError, OwnershipError

_ATTRIBUTE = "_remit_recorded"
_Recordings: TypeAlias = "dict[type[Owner[Any]], Recorded[Any]]"

on_use: Final[list[Callable[[object], None]]] = []
"""Called with each object whose recorder is used: an integration registers it with its unit of work."""


class Recorded(Generic[D]):
    """The events of one object for one domain, in the order in which they were recorded.

    It is deep-copied and pickled with its object, so it names its domain by the class. A shallow copy of the object
    shares it: each event is published once, by whichever of the two is saved first.
    """

    def __init__(self, domain: type[Owner[Any]]) -> None:
        self.domain = domain
        self._events: list[Event[D]] = []

    def record(self, event: Event[D]) -> None:
        """Keep an event until the object is saved. Raises `OwnershipError` for another domain's event."""
        spec = event_spec_of(event)
        owner = spec.domain
        if owner is not self.domain:
            self.domain.__remit__.refused(spec)
            raise OwnershipError(
                f"An aggregate of {self.domain.__remit__.name} cannot record {type(event).__qualname__}, which "
                f"{owner.__remit__.name} owns: record an event of its own domain."
            )
        self._events.append(event)

    def take(self) -> list[Event[D]]:
        """Return the recorded events, and forget them."""
        events, self._events = self._events, []
        return events

    def restore(self, events: Iterable[Event[D]]) -> None:
        """Record taken events again, before later ones."""
        self._events[:0] = events

    def __len__(self) -> int:
        return len(self._events)


class Recorder(Generic[D]):
    """An attribute of a class whose objects record events; see `Domain.recorder`, which makes it."""

    def __init__(self, domain: DomainSpec) -> None:
        self.domain = domain

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Recorded[D]: ...

    def __get__(self, instance: object | None, owner: type) -> Self | Recorded[D]:
        if instance is None:
            return self
        attributes: dict[str, Any] | None = getattr(instance, "__dict__", None)
        if attributes is None:
            raise CatalogError(
                f"Objects of {type(instance).__qualname__} cannot hold events: the class has __slots__; add '__dict__' "
                "to them."
            )
        for notice in on_use:
            notice(instance)
        return recorded_for(instance, self.domain.owner)


def recorded_for(instance: object, owner: type[Owner[D]]) -> Recorded[D]:
    """The record of an object for one domain. Recorders of several domains on one object are independent."""
    recordings: _Recordings = vars(instance).setdefault(_ATTRIBUTE, {})
    if owner not in recordings:
        recordings[owner] = Recorded[D](owner)
    return cast("Recorded[D]", recordings[owner])


def recorded_by(each: object) -> list[Recorded[Any]]:
    """The unpublished events of an object, a `Recorded` for each domain; most objects have none."""
    recordings: _Recordings = getattr(each, "__dict__", {}).get(_ATTRIBUTE, {})
    return [recorded for recorded in recordings.values() if recorded]


@contextmanager
def taking_recorded(objects: Iterable[object], domain: DomainSpec) -> Iterator[list[Event[Any]]]:
    """Return the recorded events of some objects for a domain, object by object, and clear their records.

    If the block fails, the records are restored, so that the next try publishes these events. Events recorded by a
    class without a recorder of this domain are returned too, and the domain refuses them when it publishes them.
    """
    taken = [
        (recorded, recorded.take())
        for each in objects
        for recorded in recorded_by(each)
        if recorded.domain is domain.owner or not _records_for(type(each), domain)
    ]
    try:
        yield [event for _, events in taken for event in events]
    except BaseException:
        for recorded, events in taken:
            recorded.restore(events)
        raise


def _records_for(kind: type, domain: DomainSpec) -> bool:
    attributes = (value for each in kind.__mro__ for value in vars(each).values())
    return any(isinstance(value, Recorder) and value.domain is domain for value in attributes)
