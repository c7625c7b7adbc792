"""A domain whose handlers leave things behind, for the next run to find: in processes too, which import this."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from remit import Domain, Event, Job, Retry, Run, fixed

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
RETRY = Retry(attempts=2, backoff=fixed(0.01))


class Ward(Domain[None], handlers="tests.runtime.isolated", retry=RETRY):
    """One slot a queue: what a run leaves behind, the next one meets."""


ward = Ward()
single = ward.queue("single", concurrency=1)


class OnLoop(Job[Ward], queue=single):
    name: str


class InThread(Job[Ward], queue=single):
    name: str


class InProcess(Job[Ward], queue=single):
    name: str


class Moved(Event[Ward]):
    name: str


def swap(name: str) -> str:
    """Who was here before; from now on it is this one."""
    before = tenant.get()
    tenant.set(name)
    return before


async def seen_in_a_task() -> str:
    return tenant.get()


@ward.handles(OnLoop)
async def swap_on_loop(job: OnLoop, run: Run[Ward]) -> list[str]:
    before = swap(job.name)
    await asyncio.sleep(0)
    inside, ran = tenant.get(), await asyncio.create_task(seen_in_a_task())
    in_thread = await asyncio.to_thread(tenant.get)
    return [before, inside, ran, in_thread]


@ward.handles(InThread)
def swap_in_thread(job: InThread, run: Run[Ward]) -> list[str]:
    return [swap(job.name), tenant.get()]


@ward.handles(InProcess, mode="process")
def swap_in_process(job: InProcess, run: Run[Ward]) -> list[str]:
    return [swap(job.name), tenant.get()]


def is_wanted(event: Moved) -> bool:
    tenants_of_conditions.append(swap(event.name))
    return True


tenants_of_conditions: list[str] = []


@ward.on(Moved, name="follow", where=is_wanted, queue=single)
async def follow(event: Moved, run: Run[Ward]) -> Any:
    return [tenant.get()]
