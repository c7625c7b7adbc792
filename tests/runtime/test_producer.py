"""The producer: what it makes of the answers to its claims."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from remit import Domain, Job, Run
from tests.runtime.working import all_ended, ended, opened


class Harbour(Domain[None]):
    pass


harbour = Harbour()
berth = harbour.queue("berth", concurrency=1)


class Dock(Job[Harbour], queue=berth):
    number: int


@harbour.handles(Dock)
async def dock(job: Dock, run: Run[Harbour]) -> None:
    pass


async def test_a_backlog_that_has_expired_is_ended_in_one_go(store_url: str) -> None:
    """One claim ends as many as there are slots, and gets nothing to run; it goes on nevertheless, without a pause."""
    async with opened(store_url, harbour) as app:
        past = datetime.now(UTC) - timedelta(hours=1)
        late = await harbour.enqueue_many([Dock(number=number) for number in range(60)], expires=past)
        last = await harbour.enqueue(Dock(number=60))
        async with app.worker():
            assert (await ended(app, last)).state == "completed"
            assert {job.state for job in await all_ended(app, *late)} == {"cancelled"}
