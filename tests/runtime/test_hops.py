"""How many events may follow from one cause: a loop of events ends with an error, and whatever is none goes on."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
import pytest

from remit import JobDied, JobRecord, Remit, Run
from remit.catalog.hops import MAX_HOPS, SPARE
from remit.errors import InvalidArgument
from tests.runtime.carousel import Asked, Mortal, Noted, Reply, Round, ask, reply, shared
from tests.runtime.working import opened, until

WAYS = ["run.publish", "run.publish_later", "domain.publish", "domain.enqueue", "publish_soon", "thread"]


@pytest.fixture(autouse=True)
def _clean() -> None:
    shared.reset()


async def dead(app: Remit) -> list[JobRecord]:
    return [await app.jobs.get(each.id) for each in (await app.jobs.list(state="dead", limit=100)).jobs]


async def count(app: Remit, name: str) -> int:
    events = (await app.events.list(limit=1000)).events
    return sum(each.name == name for each in events)


def execute(url: str, sql: str) -> None:
    """On a connection of the test's own, with the names of each store's tables."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as db:
            db.execute(sql.format(job="remit_job", delivery="remit_delivery", past="1"))
        db.close()
    else:
        with psycopg.connect(url) as db:
            db.execute(sql.format(job="remit.job", delivery="remit.delivery", past="'epoch'"))


def depths(what: str) -> list[int]:
    return [hops for name, hops in shared.depths if name == what]


# --- loops


@pytest.mark.parametrize("way", WAYS)
async def test_a_loop_through_two_domains_ends_with_a_dead_job(store_url: str, way: str) -> None:
    async with opened(store_url, ask, reply, max_hops=5) as app:
        await ask.publish(Asked(way=way))
        await app.drain()
        [job] = await dead(app)
        assert depths("answer") == [0, 2, 4]
        assert depths("ask-again") == [1, 3, 5]
        assert job.failures == 1
        assert [each.kind for each in job.errors] == ["remit.errors.TooManyHops"]
        assert await count(app, "ask.asked") == await count(app, "reply.replied") == 3


@pytest.mark.parametrize("way", ["process", "domain.sync.publish"])
async def test_a_loop_through_a_blocking_handler_ends_too(sqlite_url: str, way: str) -> None:
    async with opened(sqlite_url, ask, reply, max_hops=3) as app:
        await ask.publish(Asked(way=way))
        await app.drain()
        [job] = await dead(app)
        assert (job.name, job.failures) == ("ask.think-hard" if way == "process" else "ask.think", 1)
        assert depths("ask-again") == [1, 3]


async def test_the_error_names_the_last_links_of_the_chain_and_the_remedy(store_url: str) -> None:
    async with opened(store_url, ask, reply, max_hops=1) as app:
        first = await ask.publish(Asked())
        await app.drain()
        [job] = await dead(app)
        assert job.reason == (
            "ask.ask-again cannot publish ask.asked: the chain of its causes has 1 hops, and max_hops is 1. "
            "The chain ends with reply.replied -> ask.ask-again -> ask.asked; all of it has the correlation "
            f"{first.id}. If it is a loop, break it: publish another event, or none, once there is nothing more to do. "
            "If it has to go on, enqueue a job with a delay of a second or more in between, or raise max_hops of Remit."
        )
        chain = (await app.jobs.list(correlation=first.id)).jobs
        assert {each.name for each in chain} == {"reply.answer", "ask.ask-again", "reply.mourn"}


def test_without_a_setting_a_chain_has_a_hundred_hops(sqlite_url: str) -> None:
    app = Remit(sqlite_url, domains=[ask, reply])
    with app.sync:
        ask.sync.publish(Asked())
        app.sync.drain()
        [job] = app.sync.jobs.list(state="dead").jobs
        assert job.name == "reply.answer"
        assert max(depths("answer") + depths("ask-again")) == MAX_HOPS == 100


async def test_without_a_limit_a_chain_goes_on(sqlite_url: str) -> None:
    async with opened(sqlite_url, ask, reply, max_hops=None) as app:
        await ask.publish(Asked())
        async with app.worker():
            deep = MAX_HOPS + SPARE + 5
            await until(lambda: shared.depths and shared.depths[-1][1] >= deep, f"a run at depth {deep}")
        assert await dead(app) == []


@pytest.mark.parametrize("given", [0, -1, 10_001, True, 1.5, "100"])
def test_a_limit_is_a_number_of_events_or_none(sqlite_url: str, given: Any) -> None:
    with pytest.raises(InvalidArgument, match="max_hops is a number of events from 1 to 10,000, or None"):
        Remit(sqlite_url, domains=[ask], max_hops=given)


# --- what is no loop


async def test_a_job_that_enqueues_itself_at_once_goes_on(store_url: str) -> None:
    shared.last = 12
    async with opened(store_url, reply, max_hops=3) as app:
        await reply.enqueue(Round(number=1, way="until-last"))
        await app.drain()
        assert [await app.jobs.count(state=state) for state in ("completed", "dead")] == [12, 0]
        assert await count(app, "reply.noted") == 11


async def test_a_job_for_tomorrow_begins_a_new_chain(store_url: str) -> None:
    async with opened(store_url, ask, reply, max_hops=2) as app:
        await reply.enqueue(Round(number=1, way="tomorrow"))
        execute(store_url, "UPDATE {job} SET hops = 1")
        for _ in range(4):
            await app.drain()
            execute(store_url, "UPDATE {job} SET run_at = {past} WHERE state = 'scheduled'")
        assert shared.depths == [("round 1", 1), ("round 2", 0), ("round 3", 0), ("round 4", 0)]


# --- the depth of a run stays


async def test_a_retry_and_a_dead_letter_that_is_retried_keep_their_depth(store_url: str) -> None:
    async with opened(store_url, ask, reply, max_hops=2) as app:
        shared.broken = 3
        await ask.publish(Asked(way="run.publish"))
        await app.drain()
        assert depths("answer") == [0, 0, 0]
        await app.jobs.retry((await dead(app))[0].id)
        await app.drain()
        assert depths("answer") == [0, 0, 0, 0, 2]
        [job] = await dead(app)
        await app.jobs.retry(job.id)
        await app.drain()
        assert depths("answer") == [0, 0, 0, 0, 2, 2]
        assert (await app.jobs.get(job.id)).reason == job.reason


async def test_a_back_fill_delivers_an_event_at_its_depth(store_url: str) -> None:
    async with opened(store_url, ask, reply, max_hops=2) as app:
        await ask.publish(Asked(way="run.publish"))
        await app.drain()
        execute(store_url, "DELETE FROM {job}")
        execute(store_url, "DELETE FROM {delivery}")
        shared.depths.clear()
        await app.events.replay(to="reply.answer")
        await app.drain()
        assert sorted(depths("answer")) == [0, 2, 2]  # the first one leads to another at depth 2


# --- the death of a job


async def test_the_death_at_the_limit_can_be_reported_by_an_event(store_url: str) -> None:
    def report(event: JobDied, run: Run[Reply]) -> None:
        run.publish(Noted())

    shared.mourn = report
    async with opened(store_url, ask, reply, max_hops=2) as app:
        await ask.publish(Asked())
        await app.drain()
        assert depths("mourn") == [3]
        assert await count(app, "reply.noted") == 1


async def test_a_job_whose_death_enqueues_it_again_ends_as_well(store_url: str) -> None:
    def again(event: JobDied, run: Run[Reply]) -> None:
        run.enqueue(Mortal(), attempts=1)

    shared.mourn = again
    async with opened(store_url, reply, max_hops=2) as app:
        await reply.enqueue(Mortal(), attempts=1)
        await app.drain()
        letters = await dead(app)
        assert [each.name for each in letters].count("reply.mortal") == 2 + SPARE
        [last] = [each for each in letters if each.name == "reply.mourn"]
        assert last.reason is not None
        assert "reply.mourn cannot enqueue reply.mortal" in last.reason
