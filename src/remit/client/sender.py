"""Writes what domains send: on the caller's transaction, or in a short one of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from remit.catalog import EnqueueRequest, JobRef
from remit.db.handles import is_blocking
from remit.db.store import Store
from remit.db.transaction import BlockingDatabase, Database, Transaction, run_blocking
from remit.errors import UnsupportedHandle
from remit.jobs import operations
from remit.jobs.ids import new_id
from remit.jobs.rows import row


def _refs(requests: Sequence[EnqueueRequest], jobs: Sequence[dict[str, Any]], inserted: int) -> list[JobRef]:
    """What the caller is told. Only a job with an id of the caller's own can be a duplicate, and it comes alone."""
    duplicate = requests[0].id is not None and inserted == 0
    return [JobRef(job["id"], duplicate) for job in jobs]


class StoreSender:
    """The door of an application: `Sender` for its domains.

    `database` and `blocking` give the open database of each calling style. Every enqueue names the store's identity,
    which a foreign transaction does not find.
    """

    def __init__(
        self,
        store: Store,
        database: Callable[[], Database],
        blocking: Callable[[], BlockingDatabase],
        is_open: Callable[[], bool],
    ) -> None:
        self._store = store
        self._database = database
        self._blocking = blocking
        self._is_open = is_open
        self._identity: str | None = None

    @property
    def in_use(self) -> bool:
        return self._is_open()

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        jobs = [row(request, request.id or new_id()) for request in requests]
        identity = self._identity or await self._learn()
        if tx is None:
            atomic = len(jobs) > operations.LARGEST_INSERT
            inserted = await self._database().run(
                lambda own: operations.enqueue(own, jobs, store=identity), atomic=atomic
            )
        else:
            inserted = await operations.enqueue(self._store.adopt(tx), jobs, store=identity)
        return _refs(requests, jobs, inserted)

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        jobs = [row(request, request.id or new_id()) for request in requests]
        identity = self._identity
        if identity is None:
            identity = self._identity = self._blocking().run(operations.store, atomic=False)
        if tx is None:
            atomic = len(jobs) > operations.LARGEST_INSERT
            inserted = self._blocking().run(lambda own: operations.enqueue(own, jobs, store=identity), atomic=atomic)
        else:
            inserted = run_blocking(operations.enqueue(self._adopt_blocking(tx), jobs, store=identity))
        return _refs(requests, jobs, inserted)

    async def _learn(self) -> str:
        self._identity = await self._database().run(operations.store, atomic=False)
        return self._identity

    def _adopt_blocking(self, tx: object) -> Transaction:
        transaction = self._store.adopt(tx)
        if not is_blocking(transaction):
            raise UnsupportedHandle(
                f"The blocking face cannot wait for a {type(tx).__qualname__}: "
                "await the domain's own enqueue(…), or pass a blocking connection or session."
            )
        return transaction
