"""A fake of the ports of a domain: it checks everything as the real one does, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from typing_extensions import Unpack

from remit.catalog import (
    Binding,
    Catalog,
    D,
    Defaults,
    Domain,
    EnqueueOptions,
    EnqueueRequest,
    Event,
    EventRef,
    Job,
    JobRef,
    PublishOptions,
    PublishRequest,
    SyncFace,
    kind_of,
)
from remit.catalog.dispatch import Dispatch
from remit.errors import IdTaken, TransactionRequired
from remit.jobs.ids import new_id
from remit.testing.messages import Messages

E = TypeVar("E", bound=Event[Any])
J = TypeVar("J", bound=Job[Any])
S = TypeVar("S", bound="_Sent")


@dataclass(frozen=True, slots=True)
class _Sent:
    """One message that a fake was given. `tx` is the handle that was passed with it."""

    id: str
    duplicate: bool
    tx: object | None

    request: Any

    @property
    def name(self) -> str:
        """The full name of the message."""
        return str(self.request.spec.name)

    @property
    def version(self) -> int:
        """Its version."""
        return int(self.request.spec.version)

    @property
    def payload_text(self) -> str | None:
        """The values that a store would keep."""
        return str(self.request.payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


class SentJob(_Sent):
    """A job that a fake was given.

    `request` is the row that a store would write, and its attributes are available here too: `delay`, `at`, `priority`,
    `attempts`, `expires`, `label`, `requested_by` …
    """

    __slots__ = ()
    request: EnqueueRequest


class SentEvent(_Sent):
    """An event that a fake was given.

    `request` is the row that a store would write, and its attributes are available here too: `occurred_at`,
    `correlation`,
    `scope` …
    """

    __slots__ = ()
    request: PublishRequest


class Fake(Generic[D]):
    """Both ports of a domain, `Scheduler[Billing]` and `Publisher[Billing]`, for a test without a store.

    It checks owners, payloads and options with the code of the domain itself, so it raises the same errors, and records
    accepted messages. It honours `id=`: a second message of the same name under one id is a duplicate. It only records
    transactions: it does not know whether they were committed, and accepts any object as one. `defaults`, `scope` and
    `require_tx` are as for `Remit`; `domains` are further domains beside this one.

    `fake.sync` has the methods for blocking code, and those that the ports do not have.

        fake = Fake(billing)
        await PayInvoice(publisher=fake).run("1")
        fake.published(InvoicePaid).matching(invoice_id="1").once()
    """

    def __init__(
        self,
        domain: D,
        *,
        domains: Iterable[Domain[Any]] = (),
        defaults: Defaults | None = None,
        scope: Iterable[str] = (),
        require_tx: bool = False,
    ) -> None:
        self._domain = cast("Domain[Any]", domain)
        self._door = _Door(f"given to the fake of {self._domain.name}", require_tx)
        catalog = Catalog([self._domain, *domains], defaults, scope)
        self._binding = Binding(f"the fake of {self._domain.name}", self._door, catalog)
        dispatch = Dispatch(domain.__remit__)
        dispatch.rebind(self._binding)
        self.sync: SyncFace[D] = SyncFace(dispatch)

    # --- the ports

    async def enqueue(self, job: Job[D], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Accept one job; see `Domain.enqueue`."""
        return self.sync.enqueue(job, tx=tx, **options)

    async def enqueue_many(
        self, jobs: Iterable[Job[D]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Accept several jobs, all or none; see `Domain.enqueue_many`."""
        return self.sync.enqueue_many(jobs, tx=tx, **options)

    async def publish(
        self, event: Event[D], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> EventRef:
        """Accept one event; see `Domain.publish`."""
        return self.sync.publish(event, tx=tx, **options)

    async def publish_many(
        self, events: Iterable[Event[D]], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> list[EventRef]:
        """Accept several events, all or none; see `Domain.publish_many`."""
        return self.sync.publish_many(events, tx=tx, **options)

    @contextmanager
    def standing_in(self) -> Iterator[Fake[D]]:
        """Accept messages that the domain itself sends during the block: for code that does not use the ports."""
        before = self._domain.rebind(self._binding)
        try:
            yield self
        finally:
            self._domain.rebind(before)

    # --- recorded messages

    def enqueued(self, job: type[J]) -> Messages[J, SentJob]:
        """The jobs of a class that it accepted, without duplicates."""
        return Messages(job, _Taken(self._door.place, self._door.jobs))

    def published(self, event: type[E]) -> Messages[E, SentEvent]:
        """The events of a class that it accepted, without duplicates."""
        return Messages(event, _Taken(self._door.place, self._door.events))

    @property
    def jobs(self) -> list[SentJob]:
        """All jobs that it was given, in order, including duplicates."""
        return list(self._door.jobs)

    @property
    def events(self) -> list[SentEvent]:
        """All events that it was given, in order, including duplicates."""
        return list(self._door.events)

    @property
    def refusals(self) -> list[tuple[str, str, str]]:
        """Messages refused because of their owner: the sending domain, the message's name, its kind."""
        return list(self._door.refusals)

    def nothing_sent(self) -> None:
        """Assert that it was given nothing."""
        __tracebackhide__ = True
        sent = [*self._door.jobs, *self._door.events]
        if sent:
            names = "".join(f"\n    {each.name} {each.request.payload}" for each in sent)
            raise AssertionError(f"wanted nothing {self._door.place}, and there is:{names}")

    def clear(self) -> None:
        """Forget everything."""
        self._door.jobs.clear()
        self._door.events.clear()
        self._door.refusals.clear()


class _Door:
    """The `Sender` of a fake: records requests."""

    in_use = True

    def __init__(self, place: str, require_tx: bool) -> None:
        self.place = place
        self.jobs: list[SentJob] = []
        self.events: list[SentEvent] = []
        self.refusals: list[tuple[str, str, str]] = []
        self._require_tx = require_tx

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        return self.send_blocking(requests, tx=tx)

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        self._check(tx)
        refs = [JobRef(*_identity(request, self.jobs)) for request in requests]
        self.jobs += [SentJob(ref.id, ref.duplicate, tx, each) for ref, each in zip(refs, requests, strict=True)]
        return refs

    async def publish(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        return self.publish_blocking(requests, tx=tx)

    def publish_blocking(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        self._check(tx)
        refs = [EventRef(*_identity(request, self.events)) for request in requests]
        self.events += [SentEvent(ref.id, ref.duplicate, tx, each) for ref, each in zip(refs, requests, strict=True)]
        return refs

    async def publish_soon(self, request: PublishRequest) -> EventRef:
        return self.publish_soon_blocking(request)

    def publish_soon_blocking(self, request: PublishRequest) -> EventRef:
        id, duplicate = _identity(request, self.events)
        self.events.append(SentEvent(id, duplicate, None, request))
        return EventRef(id)

    async def flush(self) -> None:
        self.flush_blocking()

    def flush_blocking(self) -> None: ...

    def refused(self, domain: str, message: str, kind: str) -> None:
        self.refusals.append((domain, message, kind))

    def _check(self, tx: object | None) -> None:
        if self._require_tx and tx is None:
            raise TransactionRequired("this fake was created with require_tx=True: pass tx=")


def _identity(request: EnqueueRequest | PublishRequest, before: Iterable[_Sent]) -> tuple[str, bool]:
    """The id of a message, and whether it is a duplicate. Raises `IdTaken`."""
    if request.id is None:
        return new_id(), False
    first = next((each for each in before if each.id == request.id), None)
    if first is None:
        return request.id, False
    stored, kinds = (
        kind_of(first.name, first.payload_text),
        [kind_of(name, request.payload) for name in request.spec.names],
    )
    if stored not in kinds:
        raise IdTaken(request.id, stored, kinds[0])
    return request.id, True


@dataclass(frozen=True, slots=True)
class _Taken(Generic[S]):
    """The `Source` of a fake."""

    place: str
    sent: Sequence[S]

    def records(self, names: Sequence[str] | None = None) -> Sequence[S]:
        return [each for each in self.sent if not each.duplicate and (names is None or each.name in names)]
