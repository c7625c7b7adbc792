"""One publish: what a caller may say about it, checked and made into a request that a store can write. Pure."""

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
    """What a call may say about its event. Everything is optional, and None says nothing."""

    occurred_at: datetime | None
    """When it happened, where that is not now: an aware datetime."""

    id: AnyId | None
    """The event's own id, a UUID that the caller derives from the event's name and from what happened: published again
    under the same id, the event is a duplicate, for as long as the first one is kept. `IdTaken` where another event
    has it. For one event, not for several."""

    correlation: AnyId | None
    """The id that everything which follows from one cause shares; inside a handler, by default, that of its run."""


class PublishRequest(Struct, frozen=True, kw_only=True):
    """One event as a store writes it. What is None was not said.

    `scope` is the JSON text of an object. `keep` is how many seconds it stays after its last delivery has ended, as its
    class or its publisher's application says.
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
    """Give the spec of an event that can be published. Raises `NotAMessage`."""
    spec = getattr(type(message), "__remit__", None)
    if isinstance(message, Message) and isinstance(spec, EventSpec):
        return spec
    if isinstance(message, Message) and isinstance(spec, JobSpec):
        raise NotAMessage(
            f"{type(message).__qualname__} is a job, which is enqueued, not published: "
            f"{spec.domain.__remit__.name}.enqueue({type(message).__qualname__}(…))."
        )
    raise refusal_of(message, "event", "Event")


def prepare_event(
    spec: EventSpec, event: Message[Any], options: PublishOptions, limit: int, scope: str | None = None, *, keep: float
) -> PublishRequest:
    """Check one publish and make it a request.

    `limit` is in bytes, `scope` what `scope_text` says of the event, `keep` what `EventSpec.kept` says, in seconds.
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
    """The JSON text of the key of an ordered event: one text for keys that are equal, however they are written."""
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
    """The scope keys that a message carries, as the JSON text of an object; None where it carries none."""
    found = {key: getattr(message, key) for key in keys if hasattr(message, key)}
    return encode(found) if found else None
