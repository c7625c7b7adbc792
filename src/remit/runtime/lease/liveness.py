"""How a worker of these operations shows that it lives, in the way of its store."""

from __future__ import annotations

from remit.db.store import Liveness, Store
from remit.db.transaction import Role, Work
from remit.runtime import operations


def liveness_of(store: Store, worker: str) -> Liveness:
    """The liveness of a worker, on a connection of its own."""

    def beat(health: str) -> Work[bool]:
        return lambda tx: operations.beat(tx, worker, health=health)

    return store.liveness(store.blocking(Role.HEARTBEAT), worker, beat, operations.beats)
