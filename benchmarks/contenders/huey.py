"""huey: SQLite, polling, jobs removed as they are claimed."""

from __future__ import annotations

import logging
from typing import Any

from benchmarks.contenders.contender import JOBS, PADDING, Contender, Count, Measure, Store, count_sqlite, file_of
from benchmarks.ledger import hit

WORKERS = 2
DELAY, LONGEST_DELAY = 0.01, 0.05


class Huey(Contender):
    name = "huey"
    store = Store.SQLITE
    distribution = "huey"
    settings = (
        f"SqliteHuey, WAL, synchronous=FULL (its default), results=False, {WORKERS} worker processes, polling after "
        f"{DELAY} to {LONGEST_DELAY} s (default 0.1 to 10); it has no bulk call, and removes a job as it claims it"
    )
    measures = JOBS - {Measure.BULK}
    drain_n = 10_000

    def _huey(self) -> Any:
        from huey import SqliteHuey

        huey = SqliteHuey("bench", filename=file_of(self.url), results=False)

        @huey.task()
        def noop(number: int, padding: str) -> None:
            hit(number)

        self.noop = noop
        return huey

    async def prepare(self) -> None:
        self._huey().storage.close()

    async def open(self) -> None:
        self.huey = self._huey()

    async def close(self) -> None:
        self.huey.storage.close()

    async def enqueue(self, number: int) -> None:
        self.noop(number, PADDING)

    def unfinished(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM task")

    def work(self) -> None:
        logging.getLogger("huey").setLevel(logging.WARNING)
        self._huey().create_consumer(
            workers=WORKERS,
            worker_type="process",
            initial_delay=DELAY,
            max_delay=LONGEST_DELAY,
            periodic=False,
            check_worker_health=False,
        ).run()
