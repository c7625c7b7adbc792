"""One publish: the options of a call, checked and made into a request that a store can write. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct
from typing_extensions import TypedDict

from remit.catalog.calls import instant, refusal_of, refuse_unknown_options, uuid_text
from remit.catalog.ids import AnyId
from remit.catalog.names import lane
from remit.catalog.specs import EventSpec, JobSpec, Message
from remit.codec import encode
from remit.errors import InvalidArgument, NotAMessage


class PublishOptions(TypedDict, total=False, closed=True):  # closed: else ty lets a misspelled option pass
    """The options of a call for its event. All are optional; None has no effect."""

    occurred_at: datetime | None
    """The time at which it happened, if that is not now: an aware datetime."""

    id: AnyId | None
    """The event's own id, a UUID that the caller derives from the event's name and its subject. A second event with
    the same id is a duplicate, for as long as the first one is kept. `IdTaken` if another event has the id. For one
    event, not for several."""

    correlation: AnyId | None
    """The id shared by all jobs and events that follow from one cause; by default, in a handler, that of its run."""


class PublishRequest(Struct, frozen=True, kw_only=True):
    """One event as a store writes it. None means not given.

    `scope` is the JSON text of an object. `keep` is the number of seconds that it stays after its last delivery has
    ended, set by its class or its publisher's application.
    """

    spec: EventSpec
    payload: str
    lane: int | None = None
    occurred_at: datetime | None = None
    id: str | None = None
    correlation: str | None = None
    scope: str | None = None
    keep: float | None = None


def event_spec_of(message: object) -> EventSpec:
    """Return the spec of an event that can be published. Raises `NotAMessage`."""
    spec = getattr(type(message), "__remit__", None)
    if isinstance(message, Message) and isinstance(spec, EventSpec):
        return spec
    if isinstance(message, Message) and isinstance(spec, JobSpec):
        raise NotAMessage(
            f"{type(message).__qualname__} is a job, which is enqueued, not published: "
            f"{spec.domain.__remit__.name}.enqueue({type(message).__qualname__}(…))."
        )
    raise refusal_of(message, "an event", "Event")


def prepare_event(
    spec: EventSpec, event: Message[Any], options: PublishOptions, limit: int, scope: str | None = None, *, keep: float
) -> PublishRequest:
    """Check one publish and make it a request.

    `limit` is in bytes, `scope` the result of `scope_text`, `keep` that of `EventSpec.kept`, in seconds.
    Raises `InvalidArgument`, `UnknownOption`, `PayloadError` and `PayloadTooLarge`; the text names the event.
    """
    payload = spec.codec.dump(event, limit=limit)
    key = None if spec.ordered_by is None else lane(spec.ordered_by, _key_text(getattr(event, spec.ordered_by)))
    if not options:
        return PublishRequest(spec=spec, payload=payload, lane=key, scope=scope, keep=keep)
    refuse_unknown_options("publish", options, PublishOptions)
    occurred_at = options.get("occurred_at")
    try:
        return PublishRequest(
            spec=spec,
            payload=payload,
            lane=key,
            occurred_at=None if occurred_at is None else instant("occurred_at", occurred_at),
            id=uuid_text(options.get("id")),
            correlation=uuid_text(options.get("correlation"), "correlation"),
            scope=scope,
            keep=keep,
        )
    except InvalidArgument as error:
        raise InvalidArgument(f"{spec.name}: {error}") from error


def _key_text(key: object) -> str:
    """The JSON text of the key of an ordered event: equal keys have the same text, however they are written."""
    match key:
        case Decimal():
            key = key.normalize() if key else Decimal(0)
        case float() if key.is_integer():
            key = int(key)
        case datetime() if key.utcoffset() is not None:
            key = key.astimezone(UTC)
        case _:
            pass
    return encode(key)


def scope_text(message: Message[Any], keys: tuple[str, ...]) -> str | None:
    """The scope keys that a message carries, as the JSON text of an object; None if it carries none."""
    found = {key: getattr(message, key) for key in keys if hasattr(message, key)}
    return encode(found) if found else None
