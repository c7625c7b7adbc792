"""Dead letters wait for a person: they are counted, chosen, and made ready again, each once."""

from typing import Any

from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.model import moment
from remit.jobs.states import GaveUp, State
from tests.conformance.desk import BOOM, SECOND, Desk, a_job, text

ALL: dict[str, Any] = dict.fromkeys(["domain", "queue", "names", "reason"])


async def dead(desk: Desk, reason: str = "no retry can help", **changes: Any) -> str:
    claim = await desk.running(**changes)
    await desk.finish(claim, GaveUp(reason, BOOM))
    return claim.id


async def replay(desk: Desk, **filters: Any) -> list[str]:
    asked = {**ALL, "after": None, "limit": 100, **filters}
    return await desk(jobs.replay, **asked, token=new_token())


async def count(desk: Desk, **filters: Any) -> int:
    return await desk(jobs.count, **{**ALL, "state": "dead", **filters})


async def test_a_replayed_letter_begins_anew(desk: Desk) -> None:
    id = await dead(desk, expires=5, label="kept")
    desk.wait(86_400)
    assert await replay(desk) == [id]
    job = await desk.get(id)
    assert (job.state, job.failures, job.reason, job.suspect) == (State.READY, 0, None, False)
    assert (job.finished_at, job.expires_at, job.run_at, job.label) == (None, None, moment(desk.now), "kept")
    assert len(job.errors) == 1, "its history stays"
    assert (await desk.claim_one()).id == id


async def test_only_dead_letters_are_replayed(desk: Desk) -> None:
    others = [await desk.in_state(state) for state in State if state not in (State.DEAD, State.READY)]
    rows = [await desk.row(id) for id in others]
    assert await replay(desk) == []
    assert [await desk.row(id) for id in others] == rows


async def test_a_letter_that_was_deleted_stays_deleted(desk: Desk) -> None:
    id = await dead(desk)
    await desk(jobs.delete, id, purge=False)
    assert (await count(desk), await replay(desk), await desk(jobs.dead)) == (0, [], {})


async def test_every_filter_chooses_and_counts_alike(desk: Desk) -> None:
    odd = await dead(desk, "card of 100%_customer refused", domain="shop", queue="shop.orders", name="shop.pack")
    usual = await dead(desk)
    for filters in (
        {"domain": "shop"},
        {"queue": "shop.orders"},
        {"names": text(["shop.pack", "shop.wrap"])},
        {"reason": "refused"},
        {"reason": "100%_cust"},
    ):
        assert await count(desk, **filters) == 1, filters
        assert await replay(desk, **filters) == [odd], filters
        await desk.finish(await desk.claim_one(), GaveUp("card of 100%_customer refused"))
    assert (await count(desk, reason="%"), await count(desk, reason="REFUSED"), await count(desk, reason="x%y")) == (
        1,
        0,
        0,
    )
    assert await count(desk) == 2
    assert await replay(desk, domain="billing") == [usual]


async def test_letters_that_died_until_an_instant(desk: Desk) -> None:
    early = await dead(desk)
    desk.wait(10)
    await dead(desk)
    for before, number in ((desk.now - 10 * SECOND - 1, 0), (desk.now - 10 * SECOND, 1), (desk.now, 2)):
        assert await count(desk, ended_before=before) == number
    assert await replay(desk, ended_before=desk.now - 10 * SECOND - 1) == []
    assert await replay(desk, ended_before=desk.now - 10 * SECOND) == [early]


async def test_batches_go_on_after_the_last_id(desk: Desk) -> None:
    worker = await desk.register()
    ids = await desk.enqueue_many([a_job() for _ in range(7)])
    for claim in await desk.claim(worker):
        await desk.finish(claim, GaveUp("x"))
    got: list[str] = []
    while batch := await replay(desk, after=got[-1] if got else None, limit=3):
        got += batch
        for claim in await desk.claim(worker):
            await desk.finish(claim, GaveUp("and dead again"))
    assert got == ids, "a letter that dies again meanwhile is not replayed twice"


async def test_a_replay_takes_the_token_away(desk: Desk) -> None:
    id, token = await dead(desk), new_token()
    await desk(jobs.replay, **ALL, after=None, token=token, limit=1)
    row = await desk.row(id)
    assert row is not None
    assert row["token"] == token


async def test_dead_letters_are_counted_by_queue(desk: Desk) -> None:
    await dead(desk)
    await dead(desk)
    await dead(desk, queue="shop.orders")
    assert await desk(jobs.dead) == {"billing.invoices": 2, "shop.orders": 1}


async def test_what_has_not_ended_of_some_jobs(desk: Desk) -> None:
    others = [state for state in State if state is not State.READY]
    ids = {state: await desk.in_state(state) for state in (*others, State.READY)}  # or it would be claimed for another
    gone = new_id()
    open_ones = [id for state, id in ids.items() if not state.is_final]
    assert await desk(jobs.unfinished, [*ids.values(), gone]) == sorted(open_ones)
    assert await desk(jobs.unfinished, []) == []
