"""Messages committed to a store since a test began, from any sender."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from remit import schema
from remit.catalog import DomainSpec, Event, Job
from remit.client import Events, Jobs
from remit.client.faces import BlockingRuns, Runs
from remit.db.handles import is_blocking
from remit.db.transaction import Role, Transaction, Work, run_blocking
from remit.errors import UnboundDomain, UnsupportedHandle
from remit.jobs.model import JobRecord
from remit.outbox.model import EventRecord
from remit.testing.messages import Messages

if TYPE_CHECKING:
    from remit.app import Remit

E = TypeVar("E", bound=Event[Any])
J = TypeVar("J", bound=Job[Any])
R = TypeVar("R", JobRecord, EventRecord)
T = TypeVar("T")
_PAGE = 1000
_watches: list[Watch] = []
"""The open ones, the innermost last."""


class Watch:
    """Sees the rows added to an application's store since it was made, and nothing older. Made by `watching`.

    It reads on its own connection, without an event loop, so nothing here is awaited, in async tests either. Deliveries
    are jobs too, but they are not enqueued by the application: see `EventRecord.records`.
    """

    def __init__(self, app: Remit, tx: object | None = None) -> None:
        schema.check(app.store)
        self.app = app
        self._database = app.store.blocking(Role.CLIENT)
        runs: Runs = BlockingRuns(lambda: self._database)
        if tx is not None:
            transaction = app.store.adopt(tx)
            if not is_blocking(transaction):
                raise UnsupportedHandle(
                    f"a watch does not wait for a {type(tx).__qualname__}: use `await seen.inside(session)` in a "
                    "watch without tx=."
                )
            runs = _Within(transaction)
        self._look = _Look(runs)
        self._before = _Ids(frozenset(), frozenset())
        self._before = _Ids(
            frozenset(each.id for each in self.event_records()), frozenset(each.id for each in self.job_records())
        )

    # --- sent messages

    def published(self, event: type[E]) -> Messages[E, EventRecord]:
        """The events of a class that were committed."""
        return Messages(event, _Source("published since the watch began", self.event_records))

    def enqueued(self, job: type[J]) -> Messages[J, JobRecord]:
        """The jobs of a class that were committed, in any state."""
        return Messages(job, _Source("enqueued since the watch began", self.job_records))

    def nothing_sent(self) -> None:
        """Assert that no event was published and no job enqueued."""
        __tracebackhide__ = True
        _check_nothing(self.event_records(), self.job_records())

    async def inside(self, tx: object) -> Seen:
        """See the current contents of an open transaction, its own writes too. `tx` is any handle for `enqueue`."""
        look = _Look(_Within(self.app.store.adopt(tx)))
        return Seen(
            [each for each in await look.events(None) if each.id not in self._before.events],
            [each for each in await look.jobs(None) if each.id not in self._before.jobs],
        )

    # --- the rows

    def event_records(self, names: Sequence[str] | None = None) -> list[EventRecord]:
        """The events with one of these full names, or all, oldest first."""
        found = run_blocking(self._look.events(names))
        return [each for each in found if each.id not in self._before.events]

    def job_records(self, names: Sequence[str] | None = None) -> list[JobRecord]:
        """The jobs with one of these full names, or all, deliveries too, oldest first."""
        found = run_blocking(self._look.jobs(names))
        return [each for each in found if each.id not in self._before.jobs]

    def job(self, id: str) -> JobRecord:
        """One job with its errors and logs. Raises `JobNotFound`."""
        return run_blocking(self._look.job(id))

    def event(self, id: str) -> EventRecord:
        """One event with its deliveries. Raises `EventNotFound`."""
        return run_blocking(self._look.event(id))

    def close(self) -> None:
        """Return the connection."""
        self._database.close()


@dataclass(frozen=True, slots=True)
class Seen:
    """Messages as they were at one moment."""

    events: list[EventRecord]
    jobs: list[JobRecord]

    def published(self, event: type[E]) -> Messages[E, EventRecord]:
        """The events of a class."""
        return Messages(event, _Source("published", lambda names: _named(self.events, names)))

    def enqueued(self, job: type[J]) -> Messages[J, JobRecord]:
        """The jobs of a class."""
        return Messages(job, _Source("enqueued", lambda names: _named(self.jobs, names)))

    def nothing_sent(self) -> None:
        """Assert that there is no event and no job."""
        __tracebackhide__ = True
        _check_nothing(self.events, self.jobs)


@contextmanager
def watching(app: Remit, *, tx: object | None = None) -> Iterator[Watch]:
    """See the messages added to the store of an application during the block, from any sender.

    Committed messages count; with `tx`, a blocking handle of an open transaction, those visible to that transaction:
    for tests that never commit. Within the block `published`, `enqueued` and `nothing_sent` refer to this watch, or the
    innermost of several. A PostgreSQL store must be migrated. The watch remembers all earlier ids: it is meant for the
    stores of tests.

        with watching(app) as seen:
            shop.pay("1")
        seen.published(InvoicePaid).matching(invoice_id="1").once()
    """
    watch = Watch(app, tx)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)
        watch.close()


def published(event: type[E]) -> Messages[E, EventRecord]:
    """The events of a class that were committed since the innermost watch of their application began.

    Raises `UnboundDomain` without a watch: use `watching(app)`, or an application made by the fixture `remit_app`.

        published(InvoicePaid).matching(invoice_id="1").once()
    """
    return watch_of(event.__remit__.domain.__remit__).published(event)


def enqueued(job: type[J]) -> Messages[J, JobRecord]:
    """The jobs of a class that were committed since the innermost watch of their application began; see `published`.

    enqueued(SyncInvoice).matching(invoice_id="1").having(state="completed").once()
    """
    return watch_of(job.__remit__.domain.__remit__).enqueued(job)


def nothing_sent() -> None:
    """Assert that nothing was published and nothing enqueued since the innermost watch began; see `published`.

    For tests of a rollback.
    """
    __tracebackhide__ = True
    watch_of(None).nothing_sent()


def watch_of(domain: DomainSpec | None) -> Watch:
    """The innermost watch, of an application that has this domain. Raises `UnboundDomain`."""
    for watch in reversed(_watches):
        if domain is None or domain.instance in watch.app.catalog.domains or domain.instance is None:
            return watch
    which = f"no application with the domain {domain.name!r}" if domain else "no application"
    raise UnboundDomain(
        f"{which} is watched here: put the code into `with watching(app):`, or let the fixture remit_app make the "
        "application."
    )


@dataclass(frozen=True, slots=True)
class _Ids:
    events: frozenset[str]
    jobs: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Source(Generic[R]):
    """Records under a heading."""

    place: str
    read: Callable[[Sequence[str] | None], list[R]]

    def records(self, names: Sequence[str] | None = None) -> list[R]:
        return self.read(names)


@dataclass(frozen=True, slots=True)
class _Within:
    """Adapts an open transaction to the protocol of a database."""

    transaction: Transaction

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        return await work(self.transaction)

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("a transaction does not wait")


class _Look:
    """Reads a whole store, page by page."""

    def __init__(self, runs: Runs) -> None:
        self._events = Events(runs)
        self._jobs = Jobs(runs)
        self.event = self._events.get
        self.job = self._jobs.get

    async def events(self, names: Sequence[str] | None) -> list[EventRecord]:
        found: list[EventRecord] = []
        for name in [None] if names is None else names:
            after, first = None, True
            while first or after is not None:
                page = await self._events.list(event=name, limit=_PAGE, after=after)
                found, after, first = [*found, *page.events], page.after, False
        return sorted(found, key=lambda each: (each.published_at, each.id))

    async def jobs(self, names: Sequence[str] | None) -> list[JobRecord]:
        found: list[JobRecord] = []
        for name in [None] if names is None else names:
            after, first = None, True
            while first or after is not None:
                page = await self._jobs.list(job=name, limit=_PAGE, after=after, deleted=True)
                found, after, first = [*found, *page.jobs], page.after, False
        return sorted(found, key=lambda each: (each.created_at, each.id))


def _named(records: Sequence[R], names: Sequence[str] | None) -> list[R]:
    return [each for each in records if names is None or each.name in names]


def _check_nothing(events: Sequence[EventRecord], jobs: Sequence[JobRecord]) -> None:
    __tracebackhide__ = True
    lines = [f"    published {each.name} {each.payload_text}" for each in events]
    lines += [f"    enqueued {each.name} {each.payload_text}" for each in jobs if each.event is None]
    if lines:
        raise AssertionError("\n".join(["wanted nothing to be sent, and this was:", *lines]))
