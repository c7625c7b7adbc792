"""Sent messages as a lazy collection: narrowed by conditions, asserted on, and described if an assertion fails."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, Protocol, cast

from typing_extensions import TypeVar

from remit.catalog import Envelope, Message
from remit.errors import InvalidArgument, nearest
from remit.outbox.model import EventRecord

M = TypeVar("M", bound=Message[Any])
R = TypeVar("R", bound="Record")
R_co = TypeVar("R_co", bound="Record", covariant=True)
_MOST_TOLD = 5


class Record(Protocol):
    """The data of one sent message: a row of the store, or a call of a fake."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def payload_text(self) -> str | None: ...


class Source(Protocol[R_co]):
    """Source of messages of one kind. `place` describes it for people, with the start of its period."""

    @property
    def place(self) -> str: ...

    def records(self, names: Sequence[str] | None = None) -> Sequence[R_co]:
        """Those with one of these names, or all, oldest first; read again each time."""
        ...


@dataclass(frozen=True, slots=True)
class Found(Generic[M, R]):
    """One message, as a handler would get it, and its record."""

    message: M
    record: R

    @property
    def id(self) -> str:
        """Its id, equal to `JobRef.id` or `EventRef.id`."""
        return self.record.id

    @property
    def envelope(self) -> Envelope:
        """The metadata of an event, as `run.event`. Raises `TypeError` for a record that is not from a store's log."""
        record: object = self.record
        if not isinstance(record, EventRecord):
            raise TypeError(f"a `{type(record).__qualname__}` has no envelope: it is not an event of a store")
        return Envelope(
            id=record.id,
            type=record.name,
            version=record.version,
            domain=record.domain,
            occurred_at=record.occurred_at,
            published_at=record.published_at,
            scope=record.scope,
            correlation=record.correlation,
            causation=record.causation,
            traceparent=record.traceparent,
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `flaw` describes the difference of a message, or is None without one."""

    text: str
    flaw: Callable[[Any, Any], str | None]


class Messages(Generic[M, R]):
    """Messages of one class. Nothing is read before it is needed, and everything is read again each time.

    Iteration returns the messages themselves, in the order in which they were sent; they are plain values, so
    `assert list(published(InvoicePaid)) == [InvoicePaid(invoice_id="1")]` works. Failed assertions raise
    `AssertionError`, which shows the messages that were sent instead, and how the nearest message differs.

        published(InvoicePaid).matching(invoice_id="1").once()
    """

    def __init__(self, kind: type[M], source: Source[R], conditions: tuple[Condition, ...] = ()) -> None:
        self._kind = kind
        self._source = source
        self._conditions = conditions

    # --- narrowing

    def matching(self, *wanted: M | Callable[[M], bool], **fields: Any) -> Messages[M, R]:
        """Those with these values in their fields; a value may be a function of the field.

        `wanted` are functions of the message, or a whole message. Raises `InvalidArgument` for a field that the class
        does not have.

            enqueued(SyncInvoice).matching(invoice_id="1", amount=lambda amount: amount > 0)
        """
        known = [each.name for each in dataclasses.fields(cast("Any", self._kind))]
        for field in fields:
            if field not in known:
                raise InvalidArgument(f"{self._kind.__qualname__} has no field {field!r}.{nearest(field, known)}")
        whole = [each for each in wanted if isinstance(each, Message)]
        calls = [each for each in wanted if not isinstance(each, Message)]
        for message in whole:
            fields |= {field: getattr(message, field) for field in known}
        return self._with(
            *(_of_field(field, value) for field, value in fields.items()), *(_of_message(each) for each in calls)
        )

    def having(self, **attributes: Any) -> Messages[M, R]:
        """Those whose record has these attributes: `state="dead"`, `correlation=…`, `label=…`.

        `JobRecord` and `EventRecord` list the attributes; for a fake, `SentJob` and `SentEvent`.
        """
        return self._with(*(_of_record(name, value) for name, value in attributes.items()))

    def _with(self, *conditions: Condition) -> Messages[M, R]:
        return Messages(self._kind, self._source, (*self._conditions, *conditions))

    # --- reading

    @property
    def all(self) -> list[Found[M, R]]:
        """The messages with their records."""
        return [found for found in self._candidates() if not self._flaws(found)]

    @property
    def records(self) -> list[R]:
        """Their records: `EventRecord` or `JobRecord` from a store, `SentEvent` or `SentJob` from a fake."""
        return [found.record for found in self.all]

    @property
    def count(self) -> int:
        """The number of messages."""
        return len(self.all)

    @property
    def one(self) -> Found[M, R]:
        """The only one, with its record. Raises `AssertionError` unless there is exactly one."""
        __tracebackhide__ = True
        return self._times(1)[0]

    def __iter__(self) -> Iterator[M]:
        return iter([found.message for found in self.all])

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"<{self.describe()}: {[*self]!r}>"

    def describe(self) -> str:
        """Describe the wanted messages: `billing.invoice-paid with invoice_id='1'`."""
        name = self._kind.__remit__.name
        return f"{name} with {', '.join(each.text for each in self._conditions)}" if self._conditions else name

    # --- asserting

    def once(self) -> M:
        """Assert that there is exactly one, and return it."""
        __tracebackhide__ = True
        return self._times(1)[0].message

    def none(self) -> None:
        """Assert that there is none."""
        __tracebackhide__ = True
        self._times(0)

    def times(self, count: int) -> list[M]:
        """Assert the number, and return them."""
        __tracebackhide__ = True
        return [found.message for found in self._times(count)]

    def _times(self, count: int) -> list[Found[M, R]]:
        __tracebackhide__ = True
        candidates = self._candidates()
        found = [each for each in candidates if not self._flaws(each)]
        if len(found) != count:
            self._fail(f"wanted {_number(count)} {self.describe()}, and found {_number(len(found))}", found, candidates)
        return found

    def _fail(self, what: str, found: Sequence[Found[M, R]], candidates: Sequence[Found[M, R]]) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError("\n".join([what, *self.told(found, candidates)]))

    # --- descriptions of failures

    def told(
        self, found: Sequence[Found[M, R]] | None = None, candidates: Sequence[Found[M, R]] | None = None
    ) -> list[str]:
        """Describe in lines the messages that were found, or else the nearest miss, and other sent messages."""
        candidates = self._candidates() if candidates is None else candidates
        found = [each for each in candidates if not self._flaws(each)] if found is None else found
        lines = [f"    {each.message!r}" for each in found[:_MOST_TOLD]]
        if len(found) > _MOST_TOLD:
            lines.append(f"    … and {len(found) - _MOST_TOLD} more")
        if not found and candidates:
            closest = min(candidates, key=lambda each: len(self._flaws(each)))
            lines += ["  the nearest:", f"    {closest.message!r}"]
            lines += [f"      {flaw}" for flaw in self._flaws(closest)]
        sent = Counter(f"{each.name} v{each.version}" for each in self._source.records())
        lines.append(f"  {self._source.place}:")
        return [*lines, *(f"    {count} x {name}" for name, count in sent.items()), *([] if sent else ["    nothing"])]

    def _candidates(self) -> list[Found[M, R]]:
        spec = self._kind.__remit__
        return [
            Found(cast("M", spec.codec.load(record.payload_text)), record)
            for record in self._source.records(spec.names)
            if record.version == spec.version and record.payload_text is not None
        ]

    def _flaws(self, found: Found[M, R]) -> list[str]:
        flaws = (each.flaw(found.message, found.record) for each in self._conditions)
        return [flaw for flaw in flaws if flaw is not None]


def _number(count: int) -> str:
    return str(count) if count else "none"


def _of_field(field: str, wanted: Any) -> Condition:
    def flaw(message: Any, _: Any) -> str | None:
        return _compare(field, getattr(message, field), wanted)

    return Condition(f"{field}={_shown(wanted)}", flaw)


def _of_record(name: str, wanted: Any) -> Condition:
    def flaw(_: Any, record: Any) -> str | None:
        if not hasattr(record, name):
            known = [each for each in dir(record) if not each.startswith("_")]
            raise InvalidArgument(f"a {type(record).__qualname__} has no {name!r}.{nearest(name, known)}")
        return _compare(name, getattr(record, name), wanted)

    return Condition(f"{name}={_shown(wanted)}", flaw)


def _of_message(holds: Callable[[Any], bool]) -> Condition:
    name = _shown(holds)
    return Condition(name, lambda message, _: None if holds(message) else f"{name} returned false")


def _compare(name: str, value: Any, wanted: Any) -> str | None:
    if callable(wanted):
        return None if wanted(value) else f"{name} is {value!r}, and {_shown(wanted)} returned false"
    return None if value == wanted else f"{name} is {value!r}, not {wanted!r}"


def _shown(wanted: object) -> str:
    if not callable(wanted):
        return repr(wanted)
    name = getattr(wanted, "__qualname__", type(wanted).__qualname__)
    code = getattr(wanted, "__code__", None)
    return f"the lambda of line {code.co_firstlineno}" if code and name.endswith("<lambda>") else name
