"""An event is kept until its last delivery has ended, and for its time since; then it goes, or to the archive."""

from __future__ import annotations

from typing import Any

import pytest

from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import Completed, Failed, GaveUp, Outcome, Skipped, Snoozed
from remit.outbox import operations as outbox
from tests.conformance.desk import BOOM, Desk, an_event

HOUR = 3600.0


async def dispatched(desk: Desk, count: int = 1, *, keep: float = HOUR, **changes: Any) -> list[str]:
    ids = await desk.publish_many([an_event(**changes) for _ in range(count)])
    await desk.dispatch(keep=keep)
    return ids


async def purge(desk: Desk, **options: Any) -> tuple[int, int]:
    return await desk.purge_events(**{"keep": HOUR, "again": 10.0, **options})


async def left(desk: Desk) -> set[str]:
    return {str(id) for (id,) in await desk.execute("SELECT id FROM {event}")}


async def test_an_event_without_deliveries_goes_when_its_time_since_the_dispatch_is_over(desk: Desk) -> None:
    await desk.publish()
    desk.wait(10 * HOUR)
    await desk.dispatch(keep=HOUR)
    desk.wait(HOUR - 1)
    assert await purge(desk) == (0, 0)
    desk.wait(1)
    assert await purge(desk) == (1, 1)
    assert await left(desk) == set()


async def test_its_time_begins_when_its_last_delivery_has_ended(desk: Desk) -> None:
    await desk.subscribe("catalog.unlock")
    await desk.subscribe("mail.thank", line=1 << 15)
    await dispatched(desk)
    desk.wait(HOUR / 2)
    await desk.deliver()
    desk.wait(HOUR)
    [claim] = await desk.claim(await desk.register(), line=(1 << 15) | 1)
    assert await purge(desk) == (1, 0), "one runs"
    await desk.finish(claim, Completed())
    desk.wait(10)
    assert await purge(desk) == (1, 0), "its time is not over"
    desk.wait(HOUR)
    assert await purge(desk) == (1, 1)


async def test_what_is_left_of_a_delivery_counts_as_much_as_its_job(desk: Desk) -> None:
    await desk.subscribe()
    await dispatched(desk)
    desk.wait(HOUR / 2)
    await desk.deliver()
    await desk.forget()
    desk.wait(HOUR / 2)
    assert await purge(desk) == (1, 0)
    desk.wait(HOUR)
    assert await purge(desk) == (1, 1)
    assert (await desk.count("delivery"), await left(desk)) == (0, set())


@pytest.mark.parametrize("outcome", [None, Failed(BOOM, 30.0), Snoozed(30.0), GaveUp("no", BOOM)])
async def test_a_delivery_that_is_open_or_dead_keeps_its_event(desk: Desk, outcome: Outcome | None) -> None:
    await desk.subscribe()
    [id] = await dispatched(desk)
    if outcome is not None:
        await desk.deliver(outcome)
    desk.wait(100 * HOUR)
    assert await purge(desk) == (1, 0)
    assert await purge(desk) == (0, 0), "it is not looked at again at once"
    desk.wait(10)
    assert await purge(desk) == (1, 0)
    assert id in await left(desk)


@pytest.mark.parametrize("outcome", [Completed(), Skipped("gone")])
async def test_a_delivery_that_has_ended_does_not(desk: Desk, outcome: Outcome) -> None:
    await desk.subscribe()
    await dispatched(desk)
    await desk.deliver(outcome)
    desk.wait(HOUR)
    assert await purge(desk) == (1, 1)
    assert await desk.count("job") == 1, "the job has its own time"


async def test_a_dead_letter_has_its_payload_for_as_long_as_it_is_kept(desk: Desk) -> None:
    await desk.subscribe()
    [id] = await dispatched(desk, payload='{"n":1}')
    await desk.deliver(GaveUp("no", BOOM))
    desk.wait(100 * HOUR)
    await purge(desk)
    await desk(jobs.retry, await desk.delivery(id), token=new_token())
    [claim] = await desk.under_way()
    assert claim.payload == '{"n":1}'


async def test_a_dead_letter_that_was_pruned_keeps_nothing(desk: Desk) -> None:
    await desk.subscribe()
    await dispatched(desk)
    await desk.deliver(GaveUp("no", BOOM))
    await desk.forget()
    desk.wait(HOUR)
    assert await purge(desk) == (1, 1)


async def test_a_turn_that_waits_keeps_its_event(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id")
    first, second = await dispatched(desk, 2, lane=1)
    await desk.advance()
    await desk.deliver()
    desk.wait(HOUR)
    assert await purge(desk) == (2, 1)
    assert await left(desk) == {second}
    assert first != second
    await desk.advance()
    [claim] = await desk.under_way()
    assert claim.payload is not None


async def test_an_event_may_have_a_time_of_its_own(desk: Desk) -> None:
    ids = await desk.publish_many([an_event(keep=keep) for keep in (0.5 * HOUR, 2 * HOUR)])
    await desk.dispatch(keep=HOUR)
    desk.wait(0.5 * HOUR)
    assert await purge(desk) == (1, 1)
    desk.wait(HOUR)
    assert await purge(desk) == (0, 0)
    assert await left(desk) == {ids[1]}
    desk.wait(0.5 * HOUR)
    assert await purge(desk) == (1, 1)


async def test_neither_pending_nor_dead_events_are_purged(desk: Desk) -> None:
    pending, dead = await desk.publish(), await desk.publish()
    await desk.fail(dead, most=1)
    desk.wait(1000 * HOUR)
    assert await purge(desk, keep=0.0) == (0, 0)
    assert await left(desk) == {pending, dead}


async def test_a_batch_takes_what_is_due_first(desk: Desk) -> None:
    first = await dispatched(desk)
    desk.wait(1)
    second = await dispatched(desk)
    desk.wait(2 * HOUR)
    assert await purge(desk, limit=1) == (1, 1)
    assert await left(desk) == set(second) != set(first)
    assert await purge(desk, limit=1) == (1, 1)


async def test_what_is_not_over_is_looked_at_when_it_may_be(desk: Desk) -> None:
    """However rarely what is open is looked at."""
    await desk.subscribe()
    await dispatched(desk)
    desk.wait(HOUR - 60)
    await desk.deliver()
    desk.wait(60)
    assert await purge(desk, again=10 * HOUR) == (1, 0)
    desk.wait(HOUR - 61)
    assert await purge(desk) == (0, 0)
    desk.wait(1)
    assert await purge(desk) == (1, 1)


# --- the archive


async def test_what_is_archived_is_all_there(desk: Desk) -> None:
    await desk.subscribe()
    [id] = await dispatched(desk, payload='{"n":"☃"}', scope='{"t":1}', traceparent="00-1", version=1)
    await desk.deliver()
    desk.wait(HOUR)
    assert await purge(desk, archive=True) == (1, 1)
    columns = await desk.columns("event_archive")
    [found] = await desk.execute(f"SELECT {', '.join(columns)} FROM {{event_archive}}")
    row = dict(zip(columns, found, strict=True))
    assert (str(row["id"]), row["payload"], row["scope"], row["traceparent"]) == (id, '{"n":"☃"}', '{"t":1}', "00-1")
    assert (row["name"], row["domain"], row["version"], row["deliveries"]) == ("billing.invoice-paid", "billing", 1, 1)
    assert await left(desk) == set()


async def test_without_an_archive_nothing_is_archived(desk: Desk) -> None:
    await dispatched(desk)
    desk.wait(HOUR)
    await purge(desk)
    assert await desk.count("event_archive") == 0


async def test_an_archive_has_a_time_too(desk: Desk) -> None:
    await dispatched(desk, 3)
    desk.wait(HOUR)
    await purge(desk, archive=True)
    desk.wait(100)
    assert await desk(outbox.purge_archive, age=100.0, limit=10) == 0
    desk.wait(1)
    assert await desk(outbox.purge_archive, age=100.0, limit=2) == 2
    assert await desk(outbox.purge_archive, age=100.0, limit=2) == 1
    assert await desk.count("event_archive") == 0
