"""Outcomes in batches: one that the store refuses fails alone (concurrency.md C14)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from msgspec.structs import replace

from remit import schema
from remit.client import records
from remit.db.opening import open_store
from remit.db.store import Store
from remit.db.transaction import Database, Role
from remit.errors import StoreUnavailable
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim, Ended
from remit.jobs import operations
from remit.jobs.ids import new_id
from remit.jobs.states import Completed, GaveUp, Snoozed, State, decide
from remit.runtime import operations as workers
from remit.runtime.path.completer import Completer
from remit.runtime.path.ledger import Claims, Ledger
from remit.runtime.path.settlement import Settlement
from remit.telemetry import Telemetry


@pytest.fixture
def store(store_url: str) -> Store:
    store = open_store(store_url)
    schema.migrate(store)
    return store


def job() -> dict[str, object]:
    return {
        "id": new_id(), "line": 7, "version": 1, "priority": 0, "attempts": 3, "domain": "d", "queue": "d.q",
        "name": "d.j", "encoding": "json", "payload": "{}",
    }  # fmt: skip


async def claimed(store: Store, ledger: Ledger, count: int) -> list[Claim]:
    database = store.database(Role.CLIENT)
    identity = await database.run(operations.store, atomic=False)
    jobs = [job() for _ in range(count)]
    await database.run(lambda tx: operations.enqueue(tx, jobs, store=identity))
    await database.run(lambda tx: workers.register(tx, ledger.worker, host="h", pid=1, about="{}"))
    with ledger.claiming() as token:
        claims, _ = await database.run(
            lambda tx: execution.claim(tx, [Allotment(7, "d.q", count)], worker=ledger.worker, token=token)
        )
        ledger.take(claims)
    await database.close()
    return claims


async def states(store: Store, claims: list[Claim]) -> list[State]:
    database = store.database(Role.CLIENT)
    found = [await database.run(lambda tx, id=claim.id: records.get(tx, id)) for claim in claims]  # type: ignore[misc]
    await database.close()
    return [record.state for record in found if record is not None]


def ended(claim: Claim, outcome: Completed | Snoozed | GaveUp) -> Ended:
    transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
    return Ended(claim.id, claim.token, 1, transition, [], name=claim.name)


def the_completer(database: Database, ledger: Ledger, telemetry: Telemetry) -> Completer:
    claims = Claims()
    claims.ledger = ledger
    settlement = Settlement(claims, telemetry, lambda _: None, lambda _: None, lambda: None)
    return Completer(database, claims, settlement, telemetry)


async def complete(store: Store, ledger: Ledger, batch: list[Ended]) -> Telemetry:
    telemetry = Telemetry()
    database = store.database(Role.COMPLETE)
    completer = the_completer(database, ledger, telemetry)
    for one in batch:
        completer.put(one)
    completer.start()
    async with asyncio.timeout(20):
        await completer.flushed()
    await completer.stop()
    await database.close()
    return telemetry


async def test_outcomes_of_many_kinds_are_written_together(store: Store) -> None:
    ledger = Ledger()
    claims = await claimed(store, ledger, 3)
    batch = [
        ended(claims[0], Completed('"done"')),
        ended(claims[1], Snoozed(60)),
        ended(claims[2], GaveUp("no use")),
    ]
    await complete(store, ledger, batch)
    assert await states(store, claims) == [State.COMPLETED, State.SCHEDULED, State.DEAD]
    assert len(ledger) == 0


async def test_an_outcome_that_the_store_refuses_is_found_and_set_aside_alone(store: Store) -> None:
    ledger = Ledger()
    claims = await claimed(store, ledger, 7)
    batch = [ended(claim, Completed('"done"')) for claim in claims]
    culprit = batch[4]
    # A message whose row no store accepts: it must have at least one attempt.
    culprit.messages.append({**job(), "attempts": 0, "causation": culprit.id})
    await complete(store, ledger, batch)
    expected = [State.COMPLETED] * 7
    expected[4] = State.DEAD
    assert await states(store, claims) == expected
    database = store.database(Role.CLIENT)
    record = await database.run(lambda tx: records.get(tx, culprit.id))
    await database.close()
    assert record is not None
    assert "the store refused the outcome" in (record.reason or "")


async def test_an_outcome_without_a_lease_is_refused_counted_and_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    claims = await claimed(store, ledger, 2)
    zombie = replace(ended(claims[0], Completed(None)), token=claims[0].token + 1)
    with caplog.at_level(logging.WARNING, logger="remit"):
        telemetry = await complete(store, ledger, [zombie, ended(claims[1], Completed(None))])
    assert await states(store, claims) == [State.RUNNING, State.COMPLETED]
    assert telemetry.counts["lease_lost"] == 1
    assert f"outcome refused, the lease was lost: d.j {claims[0].id}" in caplog.text


async def test_nothing_is_written_once_the_lease_is_lost(store: Store) -> None:
    ledger = Ledger()
    claims = await claimed(store, ledger, 2)
    database = store.database(Role.COMPLETE)
    completer = the_completer(database, ledger, Telemetry())
    completer.put(ended(claims[0], Completed(None)))
    ledger.fence()
    completer.forget()
    completer.start()
    await completer.flushed()
    await completer.stop()
    await database.close()
    assert await states(store, claims) == [State.RUNNING, State.RUNNING]


async def test_of_two_outcomes_of_one_job_only_the_one_with_the_valid_token_sends_its_messages(store: Store) -> None:
    """A zombie's outcome waits beside that of the run which took its place. In one statement, messages of both would be
    those of a job that landed.
    """
    ledger = Ledger()
    for order, claim in zip((1, -1), await claimed(store, ledger, 2), strict=True):
        valid = ended(claim, Completed(None))
        stale = replace(valid, token=claim.token + 1, messages=[{**job(), "name": "d.stale", "causation": claim.id}])
        valid.messages.append({**job(), "name": "d.valid", "causation": claim.id})
        telemetry = await complete(store, ledger, [stale, valid][::order])
        assert telemetry.counts == {"completed": 1, "lease_lost": 1}
    assert await names(store) == ["d.j", "d.j", "d.valid", "d.valid"]


class Deaf:
    """A database of which some answers are lost, after it has done what was asked."""

    def __init__(self, database: Database, *lost: int) -> None:
        self._database = database
        self._lost = lost
        self._calls = 0

    async def run(self, work: Any, *, atomic: bool = True) -> Any:
        answer = await self._database.run(work, atomic=atomic)
        self._calls += 1
        if self._calls in self._lost:
            raise StoreUnavailable("the answer was lost")
        return answer


async def test_an_outcome_whose_answer_was_lost_is_counted_once_however_often_that_happens(store: Store) -> None:
    """The answer to the write is lost, and then the answer to the question what became of the second outcome."""
    ledger = Ledger()
    claims = await claimed(store, ledger, 2)
    zombie = replace(ended(claims[1], Completed(None)), token=claims[1].token + 1)
    database = store.database(Role.COMPLETE)
    telemetry = Telemetry()
    completer = the_completer(cast("Database", Deaf(database, 1, 4)), ledger, telemetry)
    for one in (ended(claims[0], Completed(None)), zombie):
        completer.put(one)
    completer.start()
    async with asyncio.timeout(20):
        await completer.flushed()
    await completer.stop()
    await database.close()
    assert await states(store, claims) == [State.COMPLETED, State.RUNNING]
    assert (telemetry.counts["completed"], telemetry.counts["lease_lost"]) == (1, 0)


async def names(store: Store) -> list[str]:
    """The names of all jobs, sorted."""
    database = store.database(Role.CLIENT)
    page = await database.run(lambda tx: records.list_jobs(tx, after=None, limit=100))
    await database.close()
    return sorted(record.name for record in page.jobs)
