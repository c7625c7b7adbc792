"""Requests and declarations as the store's statements take them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

from remit.catalog import EventSpec, Policy, PublishRequest, Subscription, delivery_line
from remit.codec import ENCODING, encode
from remit.db.statements import document
from remit.jobs.ids import new_id
from remit.jobs.model import micros

NOT_SAID: dict[str, None] = dict.fromkeys(
    ["lane", "occurred_at", "correlation", "causation", "hops", "keep", "scope", "traceparent"]
)
"""What a row of an event may leave out. `kinds` is as in a row of a job."""


def event_row(request: PublishRequest, id: str, *, hops: int = 0, **origin: str | None) -> dict[str, Any]:
    """One event, ready to be written; what was not said is left out. `hops` is its depth, `origin` are correlation,
    causation and trace.
    """
    spec = request.spec
    event: dict[str, Any] = {
        "id": id,
        "version": spec.version,
        "domain": spec.domain.__remit__.name,
        "name": spec.name,
        "encoding": ENCODING,
        "payload": request.payload,
    }
    optional: dict[str, object] = {
        "lane": request.lane,
        "occurred_at": None if request.occurred_at is None else micros(request.occurred_at),
        "keep": request.keep,
        "hops": hops or None,
        "scope": request.scope,
        **origin,
    }
    if request.id is not None:
        event["kinds"] = list(spec.names)
    if request.correlation is not None:
        optional["correlation"] = request.correlation
    event.update((name, value) for name, value in optional.items() if value is not None)
    return event


def subscription_row(versions: Sequence[Subscription], policy: Policy) -> dict[str, Any]:
    """One declaration: all versions of a subscription.

    Its fingerprint tells whether it is the one that the store knows.
    """
    versions = sorted(versions, key=lambda each: -each.version)
    subscription = versions[0]  # the newest; the others are alike in everything but event, handler and condition
    queue = subscription.queue.name
    row: dict[str, Any] = {
        "name": subscription.name,
        "aliases": list(subscription.aliases),
        "line": delivery_line(queue, subscription.name),
        "attempts": policy.attempts,
        "priority": policy.priority,
        "domain": subscription.domain.__remit__.name,
        "queue": queue,
        "events": document(list(dict.fromkeys(name for each in versions for name in each.event.names))),
        "condition": _conditions(versions),
        "ordered_by": subscription.ordered_by,
        "on_dead": subscription.on_dead,
        "stale_after": subscription.stale_after,
        "expires": policy.expires,
        "keep": subscription.keep,
    }
    fingerprint = blake2b(document(row).encode(), digest_size=16).hexdigest()
    return {"id": new_id(), **row, "fingerprint": fingerprint}


def event_types(events: Iterable[EventSpec]) -> list[dict[str, Any]]:
    """What makes events known to the relay: each by its name, with the names that it had; and by each of those."""
    specs = list(events)
    former = {(name, spec.version): None for spec in specs for name in spec.aliases}
    own = {(spec.name, spec.version): [name for name in spec.aliases if name != spec.name] for spec in specs}
    return [{"name": name, "version": version, "former": names} for (name, version), names in {**former, **own}.items()]


ABSENT = ""
"""In a condition, among the JSON texts that a field may have: it may be missing too."""


def _conditions(versions: Sequence[Subscription]) -> str | None:
    """The conditions as the store compares them, by the version of the event; a version without one is wanted."""
    found = {str(each.version): _condition(each, each.condition) for each in versions if each.condition is not None}
    return document(found) if found else None


def _condition(subscription: Subscription, condition: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """By field, the JSON texts that it may have: a publisher of an older release leaves out one that has a default."""
    defaults = {each.name: _default(each) for each in dataclasses.fields(cast("Any", subscription.event.message))}
    return {name: [*condition[name], *[ABSENT] * (defaults[name] in condition[name])] for name in sorted(condition)}


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not dataclasses.MISSING:
        return encode(field.default)
    return None if field.default_factory is dataclasses.MISSING else encode(field.default_factory())
