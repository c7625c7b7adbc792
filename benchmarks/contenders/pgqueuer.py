"""pgqueuer: PostgreSQL through asyncpg, LISTEN/NOTIFY by triggers, batched claims and log writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.contenders.contender import PADDING, Contender, Count, Store, count_postgres
from benchmarks.ledger import hit

if TYPE_CHECKING:
    import asyncpg

BATCH = 200


class Pgqueuer(Contender):
    name = "pgqueuer"
    store = Store.POSTGRES
    distribution = "pgqueuer"
    settings = f"batch_size={BATCH} (default 10), one asyncpg connection, uvloop, dequeue_timeout 30 s, LISTEN/NOTIFY"
    drain_n = 50_000
    connection: asyncpg.Connection

    async def prepare(self) -> None:
        import asyncpg
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        connection = await asyncpg.connect(self.url)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    async def open(self) -> None:
        import asyncpg
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        self.connection = await asyncpg.connect(self.url)
        self.queries = Queries(AsyncpgDriver(self.connection))

    async def close(self) -> None:
        await self.connection.close()

    async def enqueue(self, number: int) -> None:
        await self.queries.enqueue("noop", _payload(number))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        count = len(numbers)
        await self.queries.enqueue(["noop"] * count, [_payload(number) for number in numbers], [0] * count)

    def unfinished(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM pgqueuer")

    def work(self) -> None:
        import uvloop

        uvloop.run(self._work())

    async def _work(self) -> None:
        import asyncpg
        from pgqueuer import PgQueuer
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.models import Job

        queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(self.url)))

        @queuer.entrypoint("noop")
        async def noop(job: Job) -> None:
            hit(json.loads(job.payload or b"")["number"])

        await queuer.run(batch_size=BATCH)


def _payload(number: int) -> bytes:
    return json.dumps({"number": number, "padding": PADDING}).encode()
