"""An application and its worker in the test's own process, on a real store."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from remit import Domain, JobRecord, JobRef, Remit
from remit.runtime.worker import Worker

T = TypeVar("T")
PATIENCE = 30.0


@asynccontextmanager
async def opened(url: str, *domains: Domain[Any], **options: Any) -> AsyncIterator[Remit]:
    """An open application on a store that is there."""
    app = Remit(url, domains=domains, **options)
    await app.migrate()
    async with app:
        yield app


@asynccontextmanager
async def working(url: str, *domains: Domain[Any], **options: Any) -> AsyncIterator[tuple[Remit, Worker]]:
    """The same, with a worker."""
    async with opened(url, *domains, **options) as app, app.worker() as worker:
        yield app, worker


async def until(condition: Callable[[], T | Awaitable[T]], what: str = "the condition holds") -> T:
    """Wait until a condition holds; the deadline is generous, and nothing is asserted about the time."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                answer = condition()
                found = await answer if inspect.isawaitable(answer) else answer
                if found:
                    return found
                await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}") from None


async def ended(app: Remit, ref: JobRef) -> JobRecord:
    """The job, once it has ended."""

    async def final() -> JobRecord | None:
        job = await app.jobs.get(ref.id)
        return job if job.state.is_final else None

    found = await until(final, f"{ref.id} ends")
    assert found is not None
    return found


async def all_ended(app: Remit, *refs: JobRef) -> list[JobRecord]:
    return [await ended(app, ref) for ref in refs]


async def in_state(app: Remit, ref: JobRef, state: str) -> JobRecord:
    async def there() -> JobRecord | None:
        job = await app.jobs.get(ref.id)
        return job if job.state == state else None

    found = await until(there, f"{ref.id} is {state}")
    assert found is not None
    return found
