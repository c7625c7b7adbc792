"""SQLAlchemy: the current session as ambient transaction, and sessions that publish recorded events."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeAlias

from remit.catalog import Domain, Event, Recorded, event_spec_of, on_use, recorded_by, recorded_for
from remit.errors import InvalidArgument, MissingExtra, TransactionError

try:
    from sqlalchemy import event, inspect
    from sqlalchemy.ext.asyncio import async_scoped_session, async_session, async_sessionmaker
    from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction, scoped_session, sessionmaker
    from sqlalchemy.orm.attributes import flag_dirty
    from sqlalchemy.util.concurrency import in_greenlet
except ImportError as error:
    raise MissingExtra("remit.adapters.sqlalchemy needs SQLAlchemy: pip install 'sqlalchemy>=2'") from error

Sessions: TypeAlias = (
    sessionmaker[Any] | async_sessionmaker[Any] | scoped_session[Any] | async_scoped_session[Any] | type[Session]
)
"""A source of sessions: a session factory of either kind, a scoped session, or a class derived from `Session`."""


def ambient(sessions: Sessions) -> Callable[[], object | None]:
    """Find the current session, so that there is no need to pass `tx=`.

    A session is ambient from the moment its transaction begins, also implicitly with the first statement or `add`, to
    the moment it is committed or rolled back; a savepoint changes nothing. Messages that a domain sends meanwhile are
    part of that transaction: they exist if and only if the session commits. An explicit `tx` always takes precedence.
    In `after_commit` and `after_rollback` there is no ambient session any more: messages sent there are written in a
    transaction of their own.

    It applies to code in the same task and the same thread. Nothing is guessed: if two sessions have a transaction
    open, and in a task or thread that was started inside the transaction of another, sending without `tx=` raises
    `TransactionError`. (`asyncio.wait_for` of Python 3.11 starts such a task.) A session that was begun in another
    context is not visible, such as in a generator that runs in a thread pool: there, pass `tx=`, and set
    `Remit(require_tx=True)`, which reports missing ones.

    For a class, all its sessions count, including those of its subclasses. Raises `InvalidArgument` for anything else.

        Sessions = async_sessionmaker(engine)
        app = Remit(url, domains=[billing], ambient=[remit.adapters.sqlalchemy.ambient(Sessions)])

        async with Sessions.begin() as session:
            session.add(invoice)
            await billing.publish(InvoicePaid(invoice_id=invoice.id))
    """
    running = _Running()
    target = _listened(sessions)
    event.listen(target, "after_transaction_create", running.begun)
    event.listen(target, "after_commit", running.decided, insert=True)  # before the application's own listeners
    event.listen(target, "after_rollback", running.decided, insert=True)
    event.listen(target, "after_soft_rollback", running.failed, insert=True)
    event.listen(target, "after_transaction_end", running.ended)
    return running.find


def publish_recorded(sessions: Sessions) -> None:
    """Let sessions publish the events that their objects have recorded (`domain.recorder()`), in their transaction.

    At each flush, and before each commit, the events of all objects of the session, changed or not, are published by
    the domains that own them, after the rows are written: each object's in order, the order between objects undefined.
    They follow the objects' state. If a transaction or a savepoint is rolled back, nothing is published, an object that
    SQLAlchemy reads again discards its events, and one that was new holds them again, for the next try. With `expire`
    and `refresh` of a whole object its events are discarded too; `merge` moves them to the object that it returns;
    `bulk_save_objects` publishes them. docs/transactions.md has a table of all ways in which a session treats state.

    It needs no ambient transaction, and satisfies `require_tx`. Flush and commit raise the errors of `publish`; so does
    a handler of another domain, which may not publish these events. A bulk statement loads no objects and records
    nothing. A second call for the same sessions changes nothing. Raises `InvalidArgument`.

        publish_recorded(Sessions)

        with Sessions.begin() as session:
            session.get_one(Invoice, 7).pay()  # self.events.record(InvoicePaid(...))
    """
    target = _listened(sessions)
    kind = _class_of(target)
    if kind in _publishing:
        return
    publishing = _publishing[kind] = _Publishing()
    event.listen(target, "after_flush", publishing.flushed)
    event.listen(target, "before_commit", publishing.committing)
    event.listen(target, "after_commit", publishing.committed)
    event.listen(target, "after_transaction_end", publishing.ended)
    event.listen(target, "persistent_to_deleted", publishing.deleted)
    event.listen(target, "deleted_to_persistent", publishing.undeleted)
    _follow_copies(kind, publishing)
    if _remember not in on_use:
        on_use.append(_remember)
        event.listen(Mapper, "expire", _read_again, raw=True)
        event.listen(Mapper, "refresh", _read_again, raw=True)


def _listened(sessions: Any) -> Any:
    """The target of SQLAlchemy's event listeners: a blocking class or factory. An asyncio one gets its own class."""
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


def _class_of(target: Any) -> type[Session]:
    """The class of the sessions that a target makes. A factory has one of its own."""
    if isinstance(target, scoped_session):
        target = target.session_factory
    return target.class_ if isinstance(target, sessionmaker) else target


# --- the current session


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
        self._decided: weakref.WeakSet[SessionTransaction] = weakref.WeakSet()

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

    def decided(self, session: Session) -> None:
        """It is committed or rolled back, and nothing can be added to it."""
        transaction = session.get_transaction()
        if transaction is not None and session.get_nested_transaction() is None:
            self._decided.add(transaction)

    def failed(self, session: Session, _: SessionTransaction) -> None:
        """If it is still open, a flush has failed: messages are refused until the session rolls back."""
        transaction = session.get_transaction()
        if transaction is not None:
            self._decided.discard(transaction)

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
        return tuple(each for each in self._begun.get() if each.is_open() and each.transaction() not in self._decided)


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        return None


# --- the unit of work


_Taken: TypeAlias = tuple[object | None, Recorded[Any], list[Event[Any]]]
"""Events that left a `Recorded`, and its owner: None for an object outside the session, which keeps its state."""


class _Publishing:
    """Publishes recorded events, and knows the published events of each open transaction, until it has ended."""

    def __init__(self) -> None:
        self._taken: weakref.WeakKeyDictionary[SessionTransaction, list[_Taken]] = weakref.WeakKeyDictionary()
        self._committed: weakref.WeakSet[SessionTransaction] = weakref.WeakSet()
        self._deleted: weakref.WeakKeyDictionary[Session, list[object]] = weakref.WeakKeyDictionary()

    # --- publishing

    def flushed(self, session: Session, _: object) -> None:
        self._publish(session, (*session.new, *session.dirty, *session.deleted))

    def committing(self, session: Session) -> None:
        """Events that a flush does not see: recorded on an object that had been flushed, or deleted."""
        session.flush()
        self._publish(session, (*session, *self._deleted.get(session, ())))

    def saved_in_bulk(self, session: Session, objects: Iterable[object]) -> None:
        """Objects that were written and do not belong to the session."""
        self._publish(session, objects, outside=True)

    def _publish(self, session: Session, objects: Iterable[object], *, outside: bool = False) -> None:
        taken: list[_Taken] = [
            (None if outside else each, recorded, recorded.take()) for each in objects for recorded in recorded_by(each)
        ]
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

    # --- following the state of objects

    def merged(self, session: Session, source: object, copy: object) -> None:
        """The state of one object is copied to another, which the session saves."""
        for recorded in recorded_by(source):
            events = recorded.take()
            recorded_for(copy, recorded.domain).restore(events)
            self._taken.setdefault(_boundary(session), []).append((None, recorded, events))
            _remember(copy)

    def read_again(self, session: Session, instance: object) -> None:
        """Changes are discarded. Events recorded since its transaction was committed belong to the next one."""
        if session.get_transaction() not in self._committed:
            _forget(instance)

    def deleted(self, session: Session, instance: object) -> None:
        self._deleted.setdefault(session, []).append(instance)

    def undeleted(self, session: Session, instance: object) -> None:
        """The deletion is rolled back, and the events recorded on its object."""
        _forget(instance)

    def committed(self, session: Session) -> None:
        self._committed.add(_boundary(session))

    def ended(self, session: Session, transaction: SessionTransaction) -> None:
        taken = self._taken.pop(transaction, [])
        if transaction not in self._committed:
            _restore(each for each in taken if each[0] is None or inspect(each[0]).transient)
        elif transaction.nested:
            self._taken.setdefault(_boundary(session), []).extend(taken)
        if transaction.parent is None:
            self._deleted.pop(session, None)


_publishing: weakref.WeakKeyDictionary[type[Session], _Publishing] = weakref.WeakKeyDictionary()
"""By the class of the sessions; those of derived classes count too."""


def _follow_copies(kind: Any, publishing: _Publishing) -> None:
    """Wrap methods of a session that handle objects outside it, for which SQLAlchemy has no event."""
    merge, bulk_save_objects = kind._merge, kind.bulk_save_objects

    @wraps(merge)
    def _merge(self: Session, state: InstanceState[Any], *args: Any, **options: Any) -> object:
        copy = merge(self, state, *args, **options)
        source = state.obj()
        if source is not None and source is not copy:
            publishing.merged(self, source, copy)
        return copy

    @wraps(bulk_save_objects)
    def _bulk_save_objects(self: Session, objects: Iterable[object], *args: Any, **options: Any) -> None:
        saved = list(objects)
        bulk_save_objects(self, saved, *args, **options)
        publishing.saved_in_bulk(self, saved)

    kind._merge, kind.bulk_save_objects = _merge, _bulk_save_objects


def _read_again(state: InstanceState[Any], *about: Any) -> None:
    """An object was expired or read, as a whole; `about` ends with the names of attributes if only these were."""
    instance = state.obj() if about[-1] is None else None
    if instance is not None and recorded_by(instance) and (session := state.session) is not None:
        for kind in type(session).__mro__:
            if (publishing := _publishing.get(kind)) is not None:
                publishing.read_again(session, instance)


def _forget(instance: object) -> None:
    for recorded in recorded_by(instance):
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
    """Mark an object as changed, so that its session holds it and flushes, whether or not a column changed."""
    if "_sa_instance_state" in vars(instance):
        flag_dirty(instance)
