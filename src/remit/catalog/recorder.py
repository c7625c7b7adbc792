"""Events that aggregates collect while they change, until the unit of work publishes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Self, cast, overload

from remit.catalog.events import Event
from remit.catalog.publishing import event_spec_of
from remit.catalog.specs import D, DomainSpec, Owner
from remit.errors import CatalogError, OwnershipError

_ATTRIBUTE = "_remit_recorded"

on_use: Final[list[Callable[[object], None]]] = []
"""Called with each object whose recorder is used: an integration sees to it that its unit of work remembers it."""


class Recorded(Generic[D]):
    """The events of one object, in the order in which they were recorded.

    It is copied and pickled with its object, so it names its domain by the class.
    """

    def __init__(self, domain: type[Owner[Any]]) -> None:
        self._domain = domain
        self._events: list[Event[D]] = []

    def record(self, event: Event[D]) -> None:
        """Keep an event until the object is saved. Raises `OwnershipError` for another domain's event."""
        spec = event_spec_of(event)
        owner = spec.domain
        if owner is not self._domain:
            self._domain.__remit__.refused(spec)
            raise OwnershipError(
                f"An aggregate of {self._domain.__remit__.name} cannot record {type(event).__qualname__}, which "
                f"{owner.__remit__.name} owns: record an event of its own domain."
            )
        self._events.append(event)

    def take(self) -> list[Event[D]]:
        """Give what was recorded, and forget it."""
        events, self._events = self._events, []
        return events

    def restore(self, events: Iterable[Event[D]]) -> None:
        """Remember again what was taken, before what came since."""
        self._events[:0] = events

    def __len__(self) -> int:
        return len(self._events)


class Recorder(Generic[D]):
    """An attribute of a class whose objects record events; made by `Domain.recorder`, which says more."""

    def __init__(self, domain: DomainSpec) -> None:
        self._domain = domain

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
        recorded = attributes.get(_ATTRIBUTE)
        if recorded is None:
            recorded = attributes[_ATTRIBUTE] = Recorded[D](self._domain.owner)
        return cast("Recorded[D]", recorded)


def take_recorded(objects: Iterable[object]) -> list[Event[Any]]:
    """Give all that some objects have recorded, object by object, and let them forget it; most have nothing."""
    return [event for recorded in _recorded_by(objects) for event in recorded.take()]


@contextmanager
def taking_recorded(objects: Iterable[object]) -> Iterator[list[Event[Any]]]:
    """Do the same for a block: if it fails, the objects remember, so that the next try publishes what this one lost."""
    taken = [(recorded, recorded.take()) for recorded in _recorded_by(objects)]
    try:
        yield [event for _, events in taken for event in events]
    except BaseException:
        for recorded, events in taken:
            recorded.restore(events)
        raise


def recorded_by(each: object) -> Recorded[Any] | None:
    """What an object has recorded, if it ever did."""
    recorded: Recorded[Any] | None = getattr(each, "__dict__", {}).get(_ATTRIBUTE)
    return recorded


def _recorded_by(objects: Iterable[object]) -> list[Recorded[Any]]:
    return [recorded for each in objects if (recorded := recorded_by(each)) is not None]
