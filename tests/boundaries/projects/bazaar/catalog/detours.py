"""Verbs of another domain with messages that cannot be told, and names that are put together of constants."""

import asyncio
import functools
from collections.abc import Callable

from bazaar.billing.messages import Billing, SyncInvoice, billing
from bazaar.catalog.messages import catalog
from remit import Job, Scheduler

JOBS: dict[str, Callable[..., Job[Billing]]] = {}
OWNER = "billing"
NAME = OWNER + ".sync-invoice"


def build():
    return JOBS["a"]()


async def untold(job, jobs, name, theirs: Scheduler[Billing]) -> None:
    billing.sync.enqueue(build())  # violates: foreign-enqueue
    await billing.enqueue(job)  # violates: foreign-enqueue
    await billing.enqueue(JOBS["a"](invoice_id="1"))  # violates: foreign-enqueue
    await billing.enqueue_many(jobs)  # violates: foreign-enqueue
    billing.sync.enqueue_named(name, {})  # violates: foreign-enqueue
    await billing.enqueue_named("sync-invoise", {})  # violates: foreign-enqueue unknown-job
    await theirs.enqueue(job)  # violates: foreign-enqueue


async def untold_events(event, aggregate) -> None:
    await billing.publish(event)  # violates: foreign-publish
    await billing.publish_soon(event)  # violates: foreign-publish
    await billing.publish_recorded(aggregate)  # violates: foreign-publish
    billing.sync.publish_recorded(aggregate)  # violates: foreign-publish


async def handed_on(job, events) -> None:
    await functools.partial(billing.enqueue, job)()  # violates: foreign-enqueue
    await asyncio.to_thread(billing.sync.enqueue, SyncInvoice("1", "1"))  # violates: foreign-enqueue
    list(map(billing.sync.publish, events))  # violates: foreign-publish


async def put_together() -> None:
    local = "billing" + "."
    await catalog.enqueue_named("billing." + "sync-invoice", {})  # violates: foreign-enqueue
    await catalog.enqueue_named(f"billing.{'sync-invoice'}", {})  # violates: foreign-enqueue
    await catalog.enqueue_named(f"{OWNER}.{'sync' + '-invoice'}", {})  # violates: foreign-enqueue
    await catalog.enqueue_named(".".join((OWNER, "sync-invoice")), {})  # noqa: FLY002  # violates: foreign-enqueue
    await catalog.enqueue_named(NAME, {})  # violates: foreign-enqueue
    await catalog.enqueue_named(local + "sync-invoice", {})  # violates: foreign-enqueue
    await catalog.enqueue_named("rebuild-" + "indexes", {})  # violates: unknown-job
