"""Handlers and what they are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from remit import Remit
from remit.catalog import Run
from shop.messages import Billing, Catalog, CloseMonth, RebuildIndex, SyncInvoice, billing, catalog
from shop.services import Services


@billing.context
async def services() -> AsyncIterator[Services]:
    yield Services()


@billing.context
def blocking_services() -> Iterator[Services]:
    yield Services()


@billing.context
@asynccontextmanager
async def managed_services() -> AsyncGenerator[Services, None]:
    yield Services()


@billing.context  # E
async def wrong_services() -> AsyncIterator[int]:
    yield 3


@billing.handles(SyncInvoice)
async def sync_invoice(job: SyncInvoice, run: Run[Billing]) -> str:
    ref = run.enqueue(CloseMonth(month=1, organization_id="o"), delay=3, label="close")
    run.enqueue(RebuildIndex(shards=1))  # E
    run.enqueue(CloseMonth(month=1, organization_id="o"), dealy=3)  # E
    run.check()
    run.log.info("%s %s %s %s", ref.id, run.key, run.attempt, run.cancelled)
    print(run.context.curency)  # E
    async with run.transaction() as tx:
        await tx.execute("select 1", [job.invoice_id])
        run.result = {"currency": run.context.currency}
    return job.note


@billing.handles(CloseMonth, mode="process")
def close_month(job: CloseMonth, run: Run[Billing]) -> None:
    with run.sync.transaction() as tx:
        tx.execute("select 1")
    run.sync.complete({"month": job.month}, tx=None)


@catalog.handles(RebuildIndex)
def rebuild_index(job: RebuildIndex, run: Run[Catalog]) -> int:
    run.enqueue(RebuildIndex(shards=1))
    run.enqueue(SyncInvoice(invoice_id="1"))  # E
    return job.shards


@billing.handles(SyncInvoice)  # E
async def wrong_payload(job: CloseMonth, run: Run[Billing]) -> None: ...


@billing.handles(SyncInvoice)  # E
async def wrong_run(job: SyncInvoice, run: Run[Catalog]) -> None: ...


@billing.handles(SyncInvoice)  # E
async def no_run(job: SyncInvoice) -> None: ...


@billing.handles(Services)  # E
async def no_job(job: Services, run: Run[Billing]) -> None: ...


@billing.handles(SyncInvoice, mode="proces")  # E
def wrong_mode(job: SyncInvoice, run: Run[Billing]) -> None: ...


def hook(run: Run[Any]) -> Iterator[None]:
    print(run.name, run.message, run.context)
    yield


async def async_hook(run: Run[Any]) -> AsyncIterator[None]:
    yield


async def no_hook(run: Run[Any]) -> None: ...


def register(app: Remit) -> None:
    print(app.around_run(hook), app.around_run(async_hook))
    app.around_run(no_hook)  # E
