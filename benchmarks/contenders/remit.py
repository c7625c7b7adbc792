"""remit, on both stores, as its users run it: a domain, a job, an async handler, and no setting at all."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmarks.contenders.contender import PADDING, Contender, Count, Measure, Store, count_postgres, count_sqlite
from benchmarks.ledger import hit
from remit import Domain, Job, Remit, Run

SLOTS = int(os.environ.get("BENCHMARK_REMIT_SLOTS", "10"))
"""Ten is the default of a queue; to try others."""


class Bench(Domain[None], handlers=__name__):
    """What is measured."""


bench = Bench()
noops = bench.queue("noops", concurrency=SLOTS)


class Noop(Job[Bench], queue=noops):
    """Nothing to do."""

    number: int
    padding: str


@bench.handles(Noop)
async def noop(job: Noop, _run: Run[Bench]) -> None:
    hit(job.number)


class _Remit(Contender):
    distribution = "remit"
    settings = f"{SLOTS} slots, everything by default; uvloop, as `remit worker` where it is installed; client: asyncio"
    drain_n = 100_000
    options = ""
    app: Remit

    async def prepare(self) -> None:
        await Remit(self.url + self.options, domains=[bench]).migrate()

    async def open(self) -> None:
        self.app = await Remit(self.url + self.options, domains=[bench]).__aenter__()

    async def close(self) -> None:
        await self.app.__aexit__()

    async def enqueue(self, number: int) -> None:
        await bench.enqueue(Noop(number=number, padding=PADDING))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await bench.enqueue_many([Noop(number=number, padding=PADDING) for number in numbers])

    def work(self) -> None:
        import uvloop

        uvloop.run(Remit(self.url + self.options, domains=[bench]).worker().run())


class RemitPostgres(_Remit):
    name = "remit"
    store = Store.POSTGRES

    def unfinished(self) -> Count:
        return count_postgres(self.url, "SELECT count(*) FROM remit.job WHERE state <> 'completed'")


class RemitSqlite(_Remit):
    name = "remit"
    store = Store.SQLITE

    def unfinished(self) -> Count:
        return count_sqlite(self.url, "SELECT count(*) FROM remit_job WHERE state <> 'completed'")


class AloneSqlite(RemitSqlite):
    name = "remit alone"
    settings = "write_pause=0: workers do not pause for the application"
    measures = frozenset({Measure.DRAIN})
    options = "?write_pause=0"


class _Blocking(_Remit):
    settings = "client: the blocking API"
    measures = frozenset({Measure.ENQUEUE, Measure.BULK})

    async def open(self) -> None:
        self.app = Remit(self.url + self.options, domains=[bench])
        self.app.sync.__enter__()

    async def close(self) -> None:
        self.app.sync.__exit__()

    async def enqueue(self, number: int) -> None:
        bench.sync.enqueue(Noop(number=number, padding=PADDING))

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        bench.sync.enqueue_many([Noop(number=number, padding=PADDING) for number in numbers])


class RemitBlockingPostgres(_Blocking, RemitPostgres):
    name = "remit, blocking"


class RemitBlockingSqlite(_Blocking, RemitSqlite):
    name = "remit, blocking"
