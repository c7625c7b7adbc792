"""Events, subscriptions and deliveries as they stood when they were read. Times are aware, in UTC."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from remit.db.transaction import Row
from remit.errors import StoreBusy, StoreUnavailable, WrongSchema
from remit.jobs.model import moment

NOT_THE_EVENT = (StoreUnavailable, StoreBusy, WrongSchema)
"""Errors that no event is to blame for."""

Lane: TypeAlias = tuple[str, int]
"""An ordered subscription's id, and the hash of a key."""


class EventState(StrEnum):
    """Where an event stands in the outbox.

    An event is unknown while no worker, and no `remit migrate`, of a release that declares it has been at this store.
    """

    PENDING = "pending"
    UNKNOWN = "unknown"
    DISPATCHED = "dispatched"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event on its way to one subscription.

    `state` is that of the job that delivers it, or `waiting` while an ordered subscription has not come to it; `job` is
    the id of the job, None while there is none and when it was pruned.
    """

    subscription: str
    state: str
    job: str | None
    failures: int
    finished_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of the log.

    `occurred_at` is when it happened, `published_at` when it was written, `dispatched_at` when the relay made its
    `deliveries`. `attempts` counts failures of the relay, `error` is the last. `records` are the deliveries, filled by
    `get` alone. `payload_text` is what is stored.
    """

    id: str
    name: str
    version: int
    domain: str
    state: EventState
    occurred_at: datetime
    published_at: datetime
    dispatched_at: datetime | None
    encoding: str
    payload_text: str
    scope_text: str | None
    correlation: str | None
    causation: str | None
    traceparent: str | None
    deliveries: int | None
    attempts: int
    error: str | None
    records: tuple[DeliveryRecord, ...] = ()

    @property
    def payload(self) -> Any:
        """The payload as plain values."""
        return json.loads(self.payload_text)

    @property
    def scope(self) -> dict[str, Any]:
        """The scope keys that it carries."""
        return json.loads(self.scope_text) if self.scope_text else {}

    @classmethod
    def from_row(cls, row: Row, records: tuple[DeliveryRecord, ...] = ()) -> EventRecord:
        """Read a row of the statements `get_event` and `list_events`."""
        values = dict(zip(_COLUMNS, row, strict=True))
        values["state"] = EventState(values["state"])
        for name in ("occurred_at", "published_at", "dispatched_at"):
            values[name] = moment(values[name])
        return cls(**values, records=records)


_COLUMNS = [field.name for field in fields(EventRecord)][:-1]
"""In the order in which the statements give them."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, newest first; pass `after` on to get the next page, until it is None."""

    events: tuple[EventRecord, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """How the relay keeps up: `pending` events, the age of the oldest in seconds (`lag`), `dead` and `unknown` ones."""

    pending: int
    lag: float | None
    dead: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Deliveries of one subscription in one state: how many, the age of the oldest in seconds, how many are stale."""

    count: int
    oldest: float | None
    stale: int


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """A subscription as the store knows it.

    `events` are the names that it hears, `former` the names that it had. `conditions` holds, by version of the event,
    the JSON texts that each field may have, where `where=` is a mapping. `declared` says whether this application still
    declares it; None where it belongs to a domain that this application does not have. `under_way` counts deliveries
    by state: `waiting`, `scheduled`, `ready`, `running` and `dead`.
    """

    id: str
    name: str
    former: tuple[str, ...]
    domain: str
    queue: str
    events: tuple[str, ...]
    conditions: dict[int, dict[str, list[str]]]
    ordered_by: str | None
    on_dead: str
    stale_after: float
    attempts: int
    revision: int
    created_at: datetime
    filling_since: datetime | None
    retired_at: datetime | None
    declared: bool | None
    under_way: dict[str, Waiting]

    @property
    def vanished(self) -> bool:
        """Whether its code is gone, and nobody retired it: its deliveries pile up."""
        return self.declared is False and self.retired_at is None

    @property
    def stale(self) -> int:
        """How many deliveries wait for longer than they should."""
        return sum(each.stale for each in self.under_way.values())


@dataclass(frozen=True, slots=True)
class Retirement:
    """What was done when a subscription was retired.

    `turns` of an ordered one had not begun, and are gone. `cancelled` deliveries waited; those `asked_to_stop` run.
    """

    turns: int
    cancelled: int = 0
    asked_to_stop: int = 0


@dataclass(frozen=True, slots=True)
class Differences:
    """Where the stored declarations differ from an application's.

    `duplicates` are pairs of names: a subscription, and one of its aliases that is a live row too, so that one handler
    gets each event from both. `outdated` are declarations that the store has left behind, or renamed: the name that the
    application gives, the name that the store has, and the row's revision.
    """

    duplicates: tuple[tuple[str, str], ...] = ()
    outdated: tuple[tuple[str, str, int], ...] = ()


class Dispatched(Struct, frozen=True):
    """What one turn of the relay did.

    How many events it looked at, how many it dispatched, how many jobs it made, which lanes of ordered subscriptions
    have something new, and how many events it set aside as unknown.
    """

    seen: int
    events: int
    jobs: int
    lanes: tuple[Lane, ...]
    unknown: int


class Span(Struct, frozen=True):
    """What a back-fill was asked for, and how far it has come, as the row of the subscription keeps it.

    `since` and `until` are microseconds; `rate` bounds how many events are looked at in a second; `after` is the number
    of the last event that was looked at. `beats` grows while the back-fill goes on.
    """

    since: int | None = None
    until: int | None = None
    rate: float | None = None
    after: int = -1
    beats: int = 0


class Filling(Struct, frozen=True):
    """A back-fill that goes on: of which subscription, the names of its events, and when it began, in microseconds,
    which tells it from others.
    """

    subscription: str
    name: str
    events: tuple[str, ...]
    begun: int
    span: Span = Span()

    @property
    def after(self) -> int:
        """The number of the last event that was looked at."""
        return self.span.after

    @property
    def rate(self) -> float | None:
        """How many events may be looked at in a second."""
        return self.span.rate

    def at(self, after: int) -> Filling:
        """The same one later, at that place."""
        return replace(self, span=replace(self.span, after=after, beats=self.span.beats + 1))


class Filled(Struct, frozen=True):
    """One batch of a back-fill: events of the log, where it stopped, and deliveries that were made."""

    events: int
    after: int
    deliveries: int
