"""Jobs are looked at: one with all that is known of it, many by pages that neither skip nor repeat."""

import logging
from typing import Any

import pytest

from remit.client import records
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.jobs.model import JobRecord, Page, moment
from remit.jobs.states import Completed, Failed, GaveUp, State
from tests.conformance.desk import BOOM, QUEUE, SECOND, Desk, a_job, text

ANYTHING: dict[str, Any] = dict.fromkeys(["state", "domain", "queue", "names", "label", "reason", "after"])


async def page(desk: Desk, **filters: Any) -> Page:
    return await desk(records.list_jobs, **{**ANYTHING, "deleted": False, "limit": 100, **filters})


async def every_page(desk: Desk, limit: int, **filters: Any) -> list[JobRecord]:
    found: list[JobRecord] = []
    after = None
    while True:
        one = await page(desk, limit=limit, after=after, **filters)
        found += one.jobs
        after = one.after
        if after is None:
            return found


async def test_there_is_no_job_of_an_id_that_was_never_used(desk: Desk) -> None:
    assert await desk(records.get, new_id(), atomic=True) is None


async def test_a_job_tells_its_times(desk: Desk) -> None:
    begun = desk.now
    id = await desk.enqueue(expires=100)
    desk.wait(1)
    claim = await desk.claim_one()
    desk.wait(2)
    await desk.finish(claim, Completed())
    job = await desk.get(id)
    assert job.created_at == job.run_at == moment(begun)
    assert job.claimed_at == moment(begun + 1 * SECOND)
    assert job.finished_at == moment(begun + 3 * SECOND)
    assert job.expires_at == moment(begun + 100 * SECOND)
    assert (job.cancel_requested_at, job.deleted_at) == (None, None)


async def test_the_attempt_counts_from_one(desk: Desk) -> None:
    worker = await desk.register()
    id = await desk.enqueue(attempts=5)
    assert (await desk.get(id)).attempt == 0
    for attempt in (1, 2):
        claim = await desk.claim_one(worker)
        assert (claim.attempt, (await desk.get(id)).attempt) == (attempt, attempt)
        await desk.finish(claim, Failed(BOOM, 0))
        assert (await desk.get(id)).attempt == attempt
        await desk.promote()
    await desk.finish(await desk.claim_one(worker), Completed())
    assert (await desk.get(id)).attempt == 3


async def test_what_handlers_log_is_kept_in_order(desk: Desk) -> None:
    claim = await desk.running()
    lines = [
        {
            "job": claim.id,
            "attempt": 1,
            "logged_at": desk.now - place,
            "level": logging.INFO,
            "message": f"line {place}",
        }
        for place in range(3)
    ]
    await desk(jobs.log, lines)
    logs = (await desk.get(claim.id)).logs
    assert [(line.attempt, line.level, line.message) for line in logs] == [(1, 20, f"line {n}") for n in range(3)]
    assert logs[2].at == moment(desk.now - 2)


async def test_lines_about_jobs_that_are_gone_are_dropped_and_the_others_kept(desk: Desk) -> None:
    claim = await desk.running()
    line = {"attempt": 1, "logged_at": desk.now, "level": 30, "message": "x"}
    await desk(jobs.log, [{**line, "job": new_id()}, {**line, "job": claim.id}])
    assert await desk.count("log") == 1


async def test_a_log_touches_no_row_of_a_job(desk: Desk) -> None:
    claim = await desk.running()
    before = await desk.row(claim.id)
    await desk(jobs.log, [{"job": claim.id, "attempt": 1, "logged_at": desk.now, "level": 30, "message": "x"}])
    assert await desk.row(claim.id) == before


async def test_jobs_are_listed_newest_first(desk: Desk) -> None:
    ids = await desk.enqueue_many([a_job() for _ in range(5)])
    found = await page(desk)
    assert [job.id for job in found.jobs] == ids[::-1]
    assert found.after is None


async def test_a_listed_job_is_the_job_without_its_errors_and_logs(desk: Desk) -> None:
    claim = await desk.running(label="x", requested_by='"Ada"')
    await desk.finish(claim, Failed(BOOM, 5))
    [listed] = (await page(desk)).jobs
    whole = await desk.get(claim.id)
    assert (listed.errors, len(whole.errors)) == ((), 1)
    assert {**fields_of(listed), "errors": None} == {**fields_of(whole), "errors": None}


def fields_of(job: JobRecord) -> dict[str, Any]:
    return {name: getattr(job, name) for name in JobRecord.__dataclass_fields__}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_hold_every_job_once(desk: Desk, limit: int) -> None:
    ids = await desk.enqueue_many([a_job() for _ in range(7)])
    assert [job.id for job in await every_page(desk, limit)] == ids[::-1]


async def test_pages_are_stable_while_jobs_come_and_go(desk: Desk) -> None:
    ids = await desk.enqueue_many([a_job() for _ in range(6)])
    first = await page(desk, limit=2)
    await desk.enqueue_many([a_job() for _ in range(3)])
    await desk.execute("DELETE FROM {job} WHERE id = ?", [ids[5]])
    await desk.execute("DELETE FROM {job} WHERE id = ?", [ids[3]])
    second = await page(desk, limit=2, after=first.after)
    third = await page(desk, limit=2, after=second.after)
    assert [[job.id for job in one.jobs] for one in (first, second, third)] == [
        [ids[5], ids[4]],
        [ids[2], ids[1]],
        [ids[0]],
    ]
    assert third.after is None


async def test_every_filter_narrows_the_list(desk: Desk) -> None:
    odd = await desk.enqueue(domain="shop", queue="shop.orders", name="shop.pack", label="odd")
    await desk.enqueue_many([a_job() for _ in range(3)])
    for filters in ({"domain": "shop"}, {"queue": "shop.orders"}, {"names": text(["shop.pack"])}, {"label": "odd"}):
        assert [job.id for job in (await page(desk, **filters)).jobs] == [odd], filters
    assert (await page(desk, domain="shop", queue=QUEUE)).jobs == ()


async def test_every_state_can_be_listed_alone(desk: Desk) -> None:
    of = {state: await desk.in_state(state, line=place) for place, state in enumerate(State)}
    for state, id in of.items():
        assert [job.id for job in (await page(desk, state=state)).jobs] == [id], state
    assert len((await page(desk)).jobs) == len(State)


async def test_a_filtered_list_has_pages_too(desk: Desk) -> None:
    rows = [a_job(label="odd" if place % 2 else None) for place in range(9)]
    await desk.enqueue_many(rows)
    odd = [row["id"] for row in rows if row["label"]]
    assert [job.id for job in await every_page(desk, 3, label="odd")] == odd[::-1]


async def test_a_part_of_the_reason_narrows_the_list_whatever_the_state_and_has_pages(desk: Desk) -> None:
    reasons = ["100%_customer refused", None, "refused", "stolen", "ledger refused"]
    ids = await desk.enqueue_many([a_job() for _ in reasons])
    for id, reason in zip(ids, reasons, strict=True):
        await desk(jobs.cancel, id, reason=reason, by=None)
    claim = await desk.running()
    await desk.finish(claim, GaveUp("refused for good", BOOM))
    refused = [claim.id, ids[4], ids[2], ids[0]]
    for limit in (1, 2, 4, 5):
        assert [job.id for job in await every_page(desk, limit, reason="refused")] == refused, limit
    assert [job.id for job in await every_page(desk, 2, reason="refused", state="cancelled")] == refused[1:]
    assert [job.id for job in (await page(desk, reason="%_")).jobs] == [ids[0]]
    assert (await page(desk, reason="REFUSED")).jobs == ()


async def test_deleted_jobs_are_shown_to_those_who_ask(desk: Desk) -> None:
    kept, hidden = await desk.enqueue_many([a_job(), a_job()])
    await desk(jobs.delete, hidden, purge=False)
    assert [job.id for job in (await page(desk)).jobs] == [kept]
    assert [job.id for job in (await page(desk, deleted=True)).jobs] == [hidden, kept]
