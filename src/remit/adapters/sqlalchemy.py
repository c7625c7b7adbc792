"""SQLAlchemy: the session that runs here as the transaction of what is sent, and the unit of work that publishes."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from remit.catalog import Domain, Event, Recorded, event_spec_of, on_use, recorded_by
from remit.errors import InvalidArgument, MissingExtra, TransactionError

try:
    from sqlalchemy import event, inspect
    from sqlalchemy.ext.asyncio import async_scoped_session, async_session, async_sessionmaker
    from sqlalchemy.orm import Session, SessionTransaction, scoped_session, sessionmaker
    from sqlalchemy.orm.attributes import flag_dirty
    from sqlalchemy.util.concurrency import in_greenlet
except ImportError as error:
    raise MissingExtra("remit.adapters.sqlalchemy needs SQLAlchemy: pip install 'sqlalchemy>=2'") from error

Sessions: TypeAlias = (
    sessionmaker[Any] | async_sessionmaker[Any] | scoped_session[Any] | async_scoped_session[Any] | type[Session]
)
"""Where sessions come from: a session factory of either kind, a scoped session, or a class derived from `Session`."""


def ambient(sessions: Sessions) -> Callable[[], object | None]:
    """Find the session that runs here, so that nobody has to pass `tx=`.

    A session is ambient from the moment its transaction begins, be it by itself with the first statement or `add`, to
    the moment it ends; a savepoint changes nothing. What a domain sends meanwhile is part of that transaction: it
    exists if and only if the session commits. An explicit `tx` always wins.

    It holds for code in the same task and the same thread. Nothing is guessed: where two sessions have a transaction
    open, and in a task or thread that was started inside the transaction of another, sending without `tx=` raises
    `TransactionError`. (`asyncio.wait_for` of Python 3.11 starts such a task.) What cannot be seen is a session that
    was begun in another context, such as a generator that runs in a thread pool: there, pass `tx=`, and set
    `Remit(require_tx=True)`, which tells where it was forgotten.

    Of a class, all sessions count, those of its subclasses too. Raises `InvalidArgument` for anything else.

        Sessions = async_sessionmaker(engine)
        app = Remit(url, domains=[billing], ambient=[remit.adapters.sqlalchemy.ambient(Sessions)])

        async with Sessions.begin() as session:
            session.add(invoice)
            await billing.publish(InvoicePaid(invoice_id=invoice.id))
    """
    running = _Running()
    target = _listened(sessions)
    event.listen(target, "after_transaction_create", running.begun)
    event.listen(target, "after_transaction_end", running.ended)
    return running.find


def publish_recorded(sessions: Sessions) -> None:
    """Let sessions publish what their objects have recorded (`domain.recorder()`), in their own transaction.

    With each flush, and before each commit, the events of all objects of the session, changed or not, are published by
    the domains that own them, after the rows are written: each object's in order, and none promised between objects.
    They go the way of the objects' state. Where a transaction or a savepoint is rolled back, nothing is published, an
    object that SQLAlchemy reads again forgets its events, and one that was new holds them again, for the next try.

    It needs no ambient transaction, and satisfies `require_tx`. What `publish` raises, flush and commit raise; so does
    a handler of another domain, which may not publish these events. A bulk statement loads no objects and records
    nothing. Raises `InvalidArgument`.

        publish_recorded(Sessions)

        with Sessions.begin() as session:
            session.get_one(Invoice, 7).pay()  # self.events.record(InvoicePaid(...))
    """
    publishing = _Publishing()
    target = _listened(sessions)
    event.listen(target, "after_flush", publishing.flushed)
    event.listen(target, "before_commit", publishing.committing)
    event.listen(target, "after_commit", publishing.committed)
    event.listen(target, "after_rollback", publishing.rolling_back)
    event.listen(target, "after_soft_rollback", publishing.rolled_back)
    event.listen(target, "after_transaction_end", publishing.ended)
    if _remember not in on_use:
        on_use.append(_remember)


def _listened(sessions: Any) -> Any:
    """What SQLAlchemy's events listen to: a blocking class or factory. An asyncio one gets a class of its own."""
    if isinstance(sessions, async_scoped_session):
        sessions = sessions.session_factory
    if isinstance(sessions, async_sessionmaker):
        kind: Any = sessions.kw.get("sync_session_class") or sessions.class_.sync_session_class
        if not isinstance(kind, sessionmaker):
            kind = type(kind.__name__, (kind,), {})
            sessions.configure(sync_session_class=kind)
        return kind
    if isinstance(sessions, sessionmaker | scoped_session) or (
        isinstance(sessions, type) and issubclass(sessions, Session)
    ):
        return sessions
    raise InvalidArgument(
        "pass a sessionmaker, an async_sessionmaker, a scoped session of one, or a class derived from Session, not "
        f"{sessions!r}"
    )


# --- the session that runs here


@dataclass(frozen=True, slots=True)
class _Begun:
    """A transaction that began in this context, or in the one that this is a copy of."""

    session: weakref.ref[Session]
    transaction: weakref.ref[SessionTransaction]
    thread: int
    task: weakref.ref[asyncio.Task[Any]] | None

    def is_open(self) -> bool:
        session = self.session()
        return session is not None and session.get_transaction() is self.transaction()

    def is_here(self) -> bool:
        task = _task()
        begun_by = None if self.task is None else self.task()
        return self.thread == threading.get_ident() and task is begun_by and (task is None) == (self.task is None)


class _Running:
    """Knows the transactions that began in each context."""

    def __init__(self) -> None:
        self._begun: ContextVar[tuple[_Begun, ...]] = ContextVar("remit_sqlalchemy_sessions", default=())

    def begun(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is not None:
            return  # a savepoint, or a flush
        task = _task()
        this = _Begun(
            weakref.ref(session),
            weakref.ref(transaction),
            threading.get_ident(),
            None if task is None else weakref.ref(task),
        )
        self._begun.set((*self._open(), this))

    def ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            self._begun.set(tuple(each for each in self._open() if each.transaction() is not transaction))

    def find(self) -> object | None:
        if not (begun := self._open()):
            return None
        here = [each for each in begun if each.is_here()]
        if not here:
            raise TransactionError(
                "the SQLAlchemy session whose transaction is open here was begun by another task or thread, and "
                "nothing was sent: pass tx=, if this belongs to it, or begin a session of this task's own"
            )
        if len(here) > 1:
            raise TransactionError(
                f"{len(here)} SQLAlchemy sessions have a transaction open here, and nothing was sent: pass tx=, the "
                "one that this belongs to"
            )
        session = here[0].session()
        if session is None or (awaiting := async_session(session)) is None or in_greenlet():
            return session
        return awaiting

    def _open(self) -> tuple[_Begun, ...]:
        return tuple(each for each in self._begun.get() if each.is_open())


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        return None


# --- the unit of work


_Taken: TypeAlias = tuple[object, Recorded[Any], list[Event[Any]]]


class _Publishing:
    """Publishes what objects recorded, and knows for each open transaction what it published, until it has ended."""

    def __init__(self) -> None:
        self._taken: weakref.WeakKeyDictionary[SessionTransaction, list[_Taken]] = weakref.WeakKeyDictionary()
        self._committed: weakref.WeakSet[SessionTransaction] = weakref.WeakSet()
        self._deleted: weakref.WeakKeyDictionary[Session, list[object]] = weakref.WeakKeyDictionary()
        self._reverted: weakref.WeakKeyDictionary[Session, list[object]] = weakref.WeakKeyDictionary()

    def flushed(self, session: Session, _: object) -> None:
        if session.deleted:
            self._deleted.setdefault(session, []).extend(session.deleted)
        self._publish(session, (*session.new, *session.dirty, *session.deleted))

    def committing(self, session: Session) -> None:
        """What a flush does not see: events that were recorded on an object that had been flushed, or deleted."""
        session.flush()
        self._publish(session, (*session, *self._deleted.get(session, ())))

    def _publish(self, session: Session, objects: Iterable[object]) -> None:
        taken = [(each, recorded, recorded.take()) for each in objects if (recorded := recorded_by(each))]
        by_domain: dict[Domain[Any], list[Event[Any]]] = {}
        try:
            for _, _, events in taken:
                for one in events:
                    by_domain.setdefault(_owner(one), []).append(one)
            for domain, events in by_domain.items():
                domain.sync.publish_many(events, tx=session)
        except BaseException:
            _restore(taken)
            raise
        if taken:
            self._taken.setdefault(_boundary(session), []).extend(taken)

    def committed(self, session: Session) -> None:
        self._committed.add(_boundary(session))

    def ended(self, session: Session, transaction: SessionTransaction) -> None:
        taken = self._taken.pop(transaction, [])
        if transaction not in self._committed:
            _restore(each for each in taken if inspect(each[0]).transient)
        elif transaction.nested:
            self._taken.setdefault(_boundary(session), []).extend(taken)
        if transaction.parent is None:
            self._deleted.pop(session, None)

    def rolling_back(self, session: Session) -> None:
        """The database has rolled back, and objects are about to: a savepoint's changed ones, or all."""
        known = session.dirty if session.in_nested_transaction() else session.identity_map.values()
        self._reverted[session] = [*known, *session.deleted, *self._deleted.get(session, ())]

    def rolled_back(self, session: Session, _: SessionTransaction) -> None:
        for each in self._reverted.pop(session, ()):
            if (recorded := recorded_by(each)) and not inspect(each).transient:
                recorded.take()


def _restore(taken: Iterable[_Taken]) -> None:
    for _, recorded, events in reversed(list(taken)):
        recorded.restore(events)


def _owner(event: Event[Any]) -> Domain[Any]:
    domain: Domain[Any] = event_spec_of(event).domain.__remit__.instance  # type: ignore[assignment]
    return domain


def _boundary(session: Session) -> SessionTransaction:
    """The innermost transaction that can be rolled back alone."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None
    return transaction


def _remember(instance: object) -> None:
    """Call an object changed, so that its session holds it and flushes, whatever its columns say."""
    if "_sa_instance_state" in vars(instance):
        flag_dirty(instance)
