"""The declaration of a subscription, checked where it is written."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_type_hints

import msgspec

from remit.catalog.handlers import Handler
from remit.catalog.messages import check_keep, check_reason
from remit.catalog.names import check_full, check_segment
from remit.catalog.policies import Defaults
from remit.catalog.quantities import Duration, in_seconds
from remit.catalog.specs import DeadHead, DomainSpec, EventSpec, Queue, Subscription
from remit.codec import encode
from remit.errors import CatalogError, InvalidArgument, OwnershipError, PayloadError, nearest

E = TypeVar("E")
Where: TypeAlias = Mapping[str, object] | Callable[[E], bool]
"""The condition on the events of a subscription: fields and the value, or the list of values, that each may have, which
the store compares; or a function of the event, which the worker calls before the handler."""

STALE_AFTER = 300.0
"""Seconds after which a waiting delivery is called stale, if the subscription sets none."""


def make_subscription(
    domain: DomainSpec,
    event: EventSpec,
    handler: Handler,
    *,
    name: str,
    defaults: Defaults,
    aliases: tuple[str, ...] = (),
    where: Where[Any] | None = None,
    queue: Queue[Any] | None = None,
    ordered_by: str | None = None,
    on_dead: DeadHead = "block",
    stale_after: Duration | None = None,
    inline: str | None = None,
) -> Subscription:
    """Check the options of `Domain.on`. Raises `CatalogError` and its subclasses, and `InvalidArgument`."""
    whole_name = f"{domain.name}.{check_segment('The name of the subscription', name)}"
    check_keep(whole_name, defaults.keep)
    if on_dead not in get_args(DeadHead):
        raise InvalidArgument(f"on_dead of {whole_name} must be 'block' or 'pass', not {on_dead!r}.")
    if on_dead == "pass" and ordered_by is None:
        raise InvalidArgument(
            f"on_dead={on_dead!r} of {whole_name} applies to deliveries behind a dead one, and without ordered_by no "
            "delivery waits for another: add ordered_by=, or leave it out."
        )
    condition, condition_call = _where_of(whole_name, event, where)
    return Subscription(
        name=whole_name,
        aliases=_aliases(domain, whole_name, aliases),
        event=event,
        domain=domain.owner,
        handler=handler,
        stated_queue=_queue_of(domain, whole_name, queue),
        defaults=defaults,
        condition=condition,
        condition_call=condition_call,
        ordered_by=_ordered_by(whole_name, event, ordered_by),
        on_dead=on_dead,
        stale_after=STALE_AFTER if stale_after is None else in_seconds("stale_after", stale_after),
        inline=check_reason(f"The inline= of {whole_name}", inline),
    )


def _aliases(domain: DomainSpec, name: str, aliases: object) -> tuple[str, ...]:
    if not isinstance(aliases, tuple | list):
        raise CatalogError(f"The aliases= of {name} must be a tuple of names, not {aliases!r}.")
    named = (alias if "." in str(alias) else f"{domain.name}.{alias}" for alias in aliases)
    return tuple(check_full(f"An alias of {name},", alias) for alias in named)


def _queue_of(domain: DomainSpec, name: str, queue: object) -> Queue[Any] | None:
    if queue is None:
        return None
    if not isinstance(queue, Queue):
        raise CatalogError(f"The queue= of {name} must be what {domain.name}.queue(…) returned, not {queue!r}.")
    if queue.domain is not domain.owner:
        raise OwnershipError(
            f"{name} belongs to {domain.name}, and {queue.name} to another domain; declare a queue with "
            f"{domain.name}.queue(…)."
        )
    return queue


def _ordered_by(name: str, event: EventSpec, field: str | None) -> str | None:
    if field is not None and field != event.ordered_by:
        raise CatalogError(
            f"{name} wants {event.name} ordered_by={field!r}, and that event has "
            f"{f'the order of {event.ordered_by!r}' if event.ordered_by else 'no order'}: declare "
            f"ordered_by={field!r} on the class {event.message.__qualname__}, whose publishers are then serialized."
        )
    return field


def _where_of(
    name: str, event: EventSpec, where: object
) -> tuple[Mapping[str, tuple[str, ...]] | None, Callable[[Any], bool] | None]:
    if where is None:
        return None, None
    if isinstance(where, Mapping):
        return {field: _texts(name, event, field, value) for field, value in where.items()}, None
    if inspect.iscoroutinefunction(where):
        raise CatalogError(f"The where= of {name} must be a plain `def`: its result is not awaited.")
    if callable(where):
        return None, cast("Callable[[Any], bool]", where)
    raise CatalogError(
        f"The where= of {name} must be a mapping of fields to values, or a function of the event, not {where!r}."
    )


def _texts(name: str, event: EventSpec, field: str, value: object) -> tuple[str, ...]:
    """The JSON texts of the values that a field may have."""
    fields = [each.name for each in dataclasses.fields(cast("Any", event.message))]
    if field not in fields:
        raise CatalogError(f"The where= of {name}: {event.name} has no field {field!r}.{nearest(str(field), fields)}")
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    try:
        texts = tuple(sorted(encode(each) for each in values))
    except PayloadError as error:
        raise CatalogError(f"The where= of {name}: {field} cannot be compared with {value!r}: {error}") from error
    numbers = any(isinstance(each, float | Decimal) for each in values)
    if not texts or numbers or any(text[0] in "[{" or r"\u0000" in text for text in texts):
        raise CatalogError(
            f"The where= of {name}: the store compares texts, whole numbers, booleans, enums, dates and UUIDs, and "
            f"{field} is given {value!r}; use a function of the event instead."
        )
    if not all(_can_be(event, field, text) for text in texts):
        raise CatalogError(
            f"The where= of {name}: no {field} of {event.name} can be {value!r}; pass the type that the field declares."
        )
    return texts


def _can_be(event: EventSpec, field: str, text: str) -> bool:
    """Return whether a payload can hold that text: a condition that never fits would lose every event."""
    try:
        declared = get_type_hints(event.message, include_extras=True)[field]
        return encode(msgspec.json.decode(text, type=declared)) == text
    except NameError:  # of a type that is defined further down; the application resolves it
        return True
    except (msgspec.ValidationError, TypeError):
        return False
