"""Writes what domains send: on the caller's transaction, or in a short one of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from remit.catalog import (
    MAX_HOPS,
    EnqueueRequest,
    EventRef,
    JobRef,
    PublishRequest,
    current_origin,
    event_hops,
    job_hops,
    traceparent,
)
from remit.client.rail import DirectRail
from remit.db.handles import is_blocking, type_name
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Database, Transaction, run_blocking
from remit.errors import ForeignTransaction, StoreError, TransactionError, TransactionRequired, UnsupportedHandle
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.jobs.rows import row
from remit.outbox import operations as outbox
from remit.outbox.rows import event_row
from remit.telemetry import Refusals

Ambient: TypeAlias = Callable[[], object | None]
"""Gives the handle of the transaction that runs here, or None: how an integration tells where it knows."""

_Rows: TypeAlias = list[dict[str, Any]]
_Insert: TypeAlias = Callable[..., Coroutine[Any, Any, int]]

LARGEST_INSERT = jobs.LARGEST_INSERT


OWN_TRANSACTION: Final = object()
"""As `tx=`: a short transaction of remit's own, also where `require_tx` is set; for tools, not for applications."""


class StoreSender:
    """The door of an application: `Sender` for its domains.

    `database` and `blocking` give the open database of each calling style. Everything that is sent names the store's
    identity, which a foreign transaction does not find: then nothing is written, and the identity is read again, since
    the database may have been dropped and made anew. `ambient` knows of transactions that callers do not pass;
    `require_tx` refuses to send outside any. `max_hops` is the limit for what handlers send; see `remit.catalog.hops`.
    """

    def __init__(
        self,
        store: Store,
        database: Callable[[], Database],
        blocking: Callable[[], BlockingDatabase],
        is_open: Callable[[], bool],
        *,
        rail: DirectRail,
        refusals: Refusals,
        ambient: Sequence[Ambient] = (),
        require_tx: bool = False,
        max_hops: int | None = MAX_HOPS,
    ) -> None:
        self._store = store
        self._database = database
        self._blocking = blocking
        self._is_open = is_open
        self._rail = rail
        self._refusals = refusals
        self._ambient = tuple(ambient)
        self._require_tx = require_tx
        self._max_hops = max_hops
        self._identity: str | None = None

    @property
    def in_use(self) -> bool:
        return self._is_open()

    # --- jobs

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        rows = self._job_rows(requests)
        return _job_refs(requests, rows, await self._write(jobs.enqueue, rows, tx))

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        rows = self._job_rows(requests)
        return _job_refs(requests, rows, self._write_blocking(jobs.enqueue, rows, tx))

    # --- events

    async def publish(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        rows = self._event_rows(requests)
        return _event_refs(requests, rows, await self._write(outbox.publish, rows, tx))

    def publish_blocking(self, requests: Sequence[PublishRequest], *, tx: object | None) -> list[EventRef]:
        rows = self._event_rows(requests)
        return _event_refs(requests, rows, self._write_blocking(outbox.publish, rows, tx))

    async def publish_soon(self, request: PublishRequest) -> EventRef:
        [event] = self._event_rows([request])
        await self._rail.put(event)
        return EventRef(event["id"])

    def publish_soon_blocking(self, request: PublishRequest) -> EventRef:
        [event] = self._event_rows([request])
        self._rail.put_blocking(event)
        return EventRef(event["id"])

    async def flush(self) -> None:
        await self._rail.flush()

    def flush_blocking(self) -> None:
        self._rail.flush_blocking()

    # --- refusals

    def refused(self, domain: str, message: str, kind: str) -> None:
        self._refusals.count(domain, message, kind)

    # --- writing

    def _job_rows(self, requests: Sequence[EnqueueRequest]) -> _Rows:
        origin, cause, limit = current_origin.get(), _cause(), self._max_hops
        return [
            row(each, each.id or new_id(), hops=job_hops(origin, limit, each) if origin else 0, **cause)
            for each in requests
        ]

    def _event_rows(self, requests: Sequence[PublishRequest]) -> _Rows:
        origin, cause, limit = current_origin.get(), _cause(), self._max_hops
        return [
            event_row(
                each, each.id or new_id(), hops=event_hops(origin, limit, each.spec.name) if origin else 0, **cause
            )
            for each in requests
        ]

    async def _write(self, insert: _Insert, rows: _Rows, tx: object | None) -> int:
        handle = self._transaction(tx)
        identity = self._identity or await self._learn()
        atomic = len(rows) > LARGEST_INSERT

        def write(identity: str) -> Coroutine[Any, Any, int]:
            if handle is not None:
                return insert(self._store.adopt(handle), rows, store=identity)
            return self._database().run(lambda own: insert(own, rows, store=identity), atomic=atomic)

        try:
            return await write(identity)
        except ForeignTransaction:
            current = await self._identity_now()
            if current is None or current == identity:
                raise
        return await write(current)

    def _write_blocking(self, insert: _Insert, rows: _Rows, tx: object | None) -> int:
        handle = self._transaction(tx)
        identity = self._identity or self._learn_blocking()
        atomic = len(rows) > LARGEST_INSERT

        def write(identity: str) -> int:
            if handle is not None:
                return run_blocking(insert(self._adopt_blocking(handle), rows, store=identity))
            return self._blocking().run(lambda own: insert(own, rows, store=identity), atomic=atomic)

        try:
            return write(identity)
        except ForeignTransaction:
            current = self._identity_now_blocking()
            if current is None or current == identity:
                raise
        return write(current)

    def _transaction(self, tx: object | None) -> object | None:
        """The handle to write on: what the caller passed, or else what an integration knows to run here."""
        if tx is OWN_TRANSACTION:
            return None
        if tx is not None:
            return tx
        found = [handle for ambient in self._ambient if (handle := ambient()) is not None]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(type_name(handle) for handle in found)
            raise TransactionError(f"several transactions are open here ({names}), and nothing was sent: pass tx=")
        if self._require_tx:
            not_found = _NOT_FOUND if self._ambient else ""
            raise TransactionRequired(_REQUIRED + not_found + (_IN_A_HANDLER if current_origin.get() else ""))
        return None

    async def _learn(self) -> str:
        self._identity = await self._database().run(jobs.store, atomic=False)
        return self._identity

    def _learn_blocking(self) -> str:
        self._identity = self._blocking().run(jobs.store, atomic=False)
        return self._identity

    async def _identity_now(self) -> str | None:
        """The identity, read again; None where it cannot be asked, as under its write lock."""
        try:
            return await self._learn()
        except StoreError:
            return None

    def _identity_now_blocking(self) -> str | None:
        try:
            return self._learn_blocking()
        except StoreError:
            return None

    def _adopt_blocking(self, tx: object) -> Transaction:
        transaction = self._store.adopt(tx)
        if not is_blocking(transaction):
            raise UnsupportedHandle(
                f"The blocking face cannot wait for a {type(tx).__qualname__}: "
                "await the domain's own enqueue(…), or pass a blocking connection or session."
            )
        return transaction


_REQUIRED = (
    "this application was created with require_tx=True, and nothing was sent: pass tx=, the session or connection of "
    "the transaction that this belongs to"
)
_NOT_FOUND = "; no open transaction was found here, so begin one before you send"
_IN_A_HANDLER = "; in a handler, run.enqueue(…) and run.publish(…) send in the commit that completes the run"


def _cause() -> dict[str, str | None]:
    """Where what is sent here comes from: the run whose handler sends it, if one does."""
    origin, trace = current_origin.get(), traceparent()
    if origin is None:
        return {"traceparent": trace}
    return {"correlation": origin.correlation, "causation": origin.causation, "traceparent": trace}


def _job_refs(requests: Sequence[EnqueueRequest], rows: _Rows, written: int) -> list[JobRef]:
    """What the caller is told. Only a job with an id of the caller's own can be a duplicate, and it comes alone."""
    duplicate = requests[0].id is not None and written == 0
    return [JobRef(each["id"], duplicate) for each in rows]


def _event_refs(requests: Sequence[PublishRequest], rows: _Rows, written: int) -> list[EventRef]:
    duplicate = requests[0].id is not None and written == 0
    return [EventRef(each["id"], duplicate) for each in rows]
