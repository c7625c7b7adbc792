"""Who may send what, and with which options."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from typing_extensions import Unpack

from remit.catalog import EnqueueOptions, Job, JobRef, Scheduler, exponential
from shop.messages import Billing, CloseMonth, RebuildIndex, SyncInvoice, billing, catalog

sync = SyncInvoice(invoice_id="1")
close = CloseMonth(month=1, organization_id="o")
rebuild = RebuildIndex(shards=1)


async def send(tx: object) -> list[JobRef]:
    ref = await billing.enqueue(sync, tx=tx, delay=timedelta(minutes=3), priority=3, attempts=1, expires=30)
    print(ref.id, ref.duplicate)
    await billing.enqueue(sync, at=datetime.now(UTC), backoff=exponential(1), keep=3, attachment="https://x")
    await billing.enqueue(sync, timeout=2)
    await billing.enqueue(sync, timeout="2")  # E
    await billing.enqueue(sync, requested_by={"name": "Ada", "role": "owner"}, label="first", delay=None)
    await billing.enqueue_named("sync", {"invoice_id": "1"}, tx=tx)
    await catalog.enqueue(rebuild)
    return await billing.enqueue_many([sync, close], tx=tx, requested_by="Ada")


async def wrong_send() -> None:
    await catalog.enqueue(sync)  # E
    await billing.enqueue(rebuild)  # E
    await catalog.enqueue_many([sync])  # E
    await billing.enqueue(SyncInvoice)  # E
    await billing.enqueue("sync")  # E
    await billing.enqueue(sync, dealy=3)  # E
    await billing.enqueue(sync, delay="3")  # E
    await billing.enqueue(sync, backoff=lambda attempt, error: 3.0)  # E
    await billing.enqueue_many([sync], lable="x")  # E
    await billing.enqueue_named("sync", {}, prioriti=3)  # E
    billing.queue("other").name = "x"  # E


def blocking() -> None:
    billing.sync.enqueue(sync, tx=None, delay=3)
    billing.sync.enqueue_many([sync, close])
    billing.sync.enqueue_named("sync", {"invoice_id": "1"})
    catalog.sync.enqueue(sync)  # E
    catalog.sync.enqueue_many([sync])  # E
    billing.sync.enqueue(sync, dealy=3)  # E


class FakeScheduler:
    async def enqueue(
        self, job: Job[Billing], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobRef:
        return JobRef("1")

    async def enqueue_many(
        self, jobs: Iterable[Job[Billing]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        return [JobRef("1") for _ in jobs]


async def use_case(scheduler: Scheduler[Billing]) -> None:
    await scheduler.enqueue(sync, delay=3)
    await scheduler.enqueue_many([close])
    await scheduler.enqueue(rebuild)  # E
    await scheduler.enqueue(sync, dealy=3)  # E


async def use_cases() -> None:
    await use_case(billing)
    await use_case(FakeScheduler())
    await use_case(catalog)  # E
    await use_case(None)  # E
