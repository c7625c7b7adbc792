"""Proof of life in the database: a counter in the worker's row. For stores that machines share."""

from __future__ import annotations

from collections.abc import Collection

from remit.db.store import Beat, Counters
from remit.db.transaction import BlockingDatabase


class RowLiveness:
    """The counter in the worker's row, on a connection that waits for nobody."""

    def __init__(self, database: BlockingDatabase, beat: Beat, counters: Counters) -> None:
        self._database = database
        self._beat = beat
        self._counters = counters

    def beat(self, health: str) -> bool:
        return self._database.run(self._beat(health), atomic=False)

    def observe(self) -> dict[str, int]:
        return self._database.run(self._counters, atomic=False)

    def may_be_alive(self, worker: str) -> bool:
        return False

    def sweep(self, registered: Collection[str]) -> None:
        """A dead worker leaves nothing but its row."""

    def close(self) -> None:
        self._database.close()
