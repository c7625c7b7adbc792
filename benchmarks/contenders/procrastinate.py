"""procrastinate: PostgreSQL through psycopg 3, LISTEN/NOTIFY by triggers, one query a claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contenders.contender import PADDING, Contender, Count, Store, count_postgres
from benchmarks.ledger import hit

CONCURRENCY = 10


class Procrastinate(Contender):
    name = "procrastinate"
    store = Store.POSTGRES
    distribution = "procrastinate"
    settings = f"async worker, concurrency={CONCURRENCY} (default 1), LISTEN/NOTIFY, pool of 4 to 20, jobs kept"
    drain_n = 5_000

    def _app(self, *, smallest: int, largest: int) -> Any:
        import procrastinate

        connector = procrastinate.PsycopgConnector(conninfo=self.url, min_size=smallest, max_size=largest)
        app = procrastinate.App(connector=connector)

        @app.task(name="noop")
        async def noop(number: int, padding: str) -> None:
            hit(number)

        self.noop = noop
        return app

    async def prepare(self) -> None:
        async with self._app(smallest=1, largest=4).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        self.app = self._app(smallest=1, largest=4)
        await self.app.open_async()

    async def close(self) -> None:
        await self.app.close_async()

    async def enqueue(self, number: int) -> None:
        await self.noop.defer_async(number=number, padding=PADDING)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await self.noop.batch_defer_async(*({"number": number, "padding": PADDING} for number in numbers))

    def unfinished(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")

    def work(self) -> None:
        self._app(smallest=4, largest=20).run_worker(concurrency=CONCURRENCY)
