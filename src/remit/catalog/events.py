"""How an event class is declared: a fact, with its owner in the type and its fields as annotations."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any, Never, cast

from remit.catalog.fields import UnresolvedField
from remit.catalog.messages import aliases_of, check_reason, make_message, name_of, owner_of, refuse_unknown
from remit.catalog.policies import FOREVER, Defaults
from remit.catalog.quantities import Duration, flag, in_seconds_or_forever, whole
from remit.catalog.specs import D, EventSpec, Message
from remit.errors import CatalogError, nearest


class Event(Message[D]):
    """A fact: "this happened". Subclass it as `Event[YourDomain]`, named in the past tense, and annotate its fields.

    Like a job it becomes a frozen, keyword-only dataclass. Its domain alone publishes it; any domain may subscribe.

    Class keywords, all optional:

    - `name`: the full name that is stored with each event; by default the domain and the class in kebab-case.
    - `version`: a whole number (default 1); a worker handles only the versions that it knows.
    - `aliases`: full names that the event had before; subscribers receive these too.
    - `ordered_by`: the field that holds the key of its aggregate, such as `"invoice_id"`. Events of one key are
      then committed one after the other (a second publisher waits until the first has committed), and subscriptions
      may request them in that order. By default there is no order.
    - `audit_only`: True for an event that is kept for the record and intentionally has no subscriber.
    - `fact`: True for a name that states a fact which `remit check` does not recognise (`StockLow`).
    - `unscoped`: the reason why it carries no scope keys, if the application requires them.
    - `keep`: how long it is kept after its last delivery has ended; by default the time set by `Remit(outbox=…)`.
    - `max_payload`: bytes that an encoded payload may have; 65,536 by default.
    - `abstract`: True for a class that only others inherit from; messages that are not abstract are final.

    Raises `CatalogError` and its subclasses, and `InvalidArgument`, where the class is defined.

        class InvoicePaid(Event[Billing]):
            invoice_id: str
    """

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        aliases: tuple[str, ...] = (),
        ordered_by: str | None = None,
        audit_only: bool = False,
        fact: bool = False,
        unscoped: str | None = None,
        keep: Duration | None = None,
        max_payload: int | None = None,
        abstract: bool = False,
        **unknown: Never,  # a type error for checkers; at run time, an error that names the nearest
    ) -> None:
        super().__init_subclass__()
        refuse_unknown(cls, unknown, Event.__init_subclass__)
        make_message(cls)
        if flag("abstract", abstract):
            return
        domain = owner_of(cls)
        spec = EventSpec(
            message=cls,
            domain=domain.owner,
            name=name_of(cls, name, domain),
            version=whole("version", version, 1, 32_767),
            aliases=aliases_of(cls, aliases),
            unscoped=check_reason(f"The unscoped= of {cls.__qualname__}", unscoped),
            ordered_by=_ordered_by(cls, ordered_by),
            audit_only=flag("audit_only", audit_only),
            fact=flag("fact", fact),
            keep=_seconds_kept(keep),
            max_payload=Defaults(max_payload=max_payload).max_payload,
        )
        with suppress(UnresolvedField):  # perhaps defined further down; the application resolves it
            spec.resolve()
        domain.add_event(spec)
        cls.__remit__ = spec


def _ordered_by(cls: type, field: str | None) -> str | None:
    names = [each.name for each in dataclasses.fields(cast("Any", cls))]
    if field is not None and field not in names:
        raise CatalogError(f"{cls.__qualname__} has no field {field!r} to be ordered_by.{nearest(str(field), names)}")
    return field


def _seconds_kept(keep: Duration | None) -> float | None:
    if keep is None:
        return None
    seconds = in_seconds_or_forever("keep", keep, zero=True)
    return FOREVER if seconds is None else seconds
