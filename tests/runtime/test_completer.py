"""Outcomes in batches: one that the store refuses fails alone (concurrency.md C14)."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace

from remit import schema
from remit.db.opening import open_store
from remit.db.store import Store
from remit.db.transaction import Database, Role
from remit.jobs import operations
from remit.jobs.ids import new_id
from remit.jobs.model import Allotment, Claim, Ended
from remit.jobs.states import Completed, GaveUp, Snoozed, State, decide
from remit.runtime import operations as workers
from remit.runtime.completer import Completer
from remit.runtime.ledger import Ledger
from remit.runtime.settlement import Settlement
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
            lambda tx: operations.claim(tx, [Allotment(7, "d.q", count)], worker=ledger.worker, token=token)
        )
        ledger.take(claims)
    await database.close()
    return claims


async def states(store: Store, claims: list[Claim]) -> list[State]:
    database = store.database(Role.CLIENT)
    found = [await database.run(lambda tx, id=claim.id: operations.get(tx, id)) for claim in claims]  # type: ignore[misc]
    await database.close()
    return [record.state for record in found if record is not None]


def ended(claim: Claim, outcome: Completed | Snoozed | GaveUp) -> Ended:
    transition = decide(outcome, failures=claim.failures, attempts=claim.attempts)
    return Ended(claim.id, claim.token, 1, transition, [], name=claim.name)


def the_completer(database: Database, ledger: Ledger, telemetry: Telemetry) -> Completer:
    settlement = Settlement(lambda: ledger, telemetry, lambda _: None, lambda _: None, lambda: None)
    return Completer(database, lambda: ledger, settlement, telemetry)


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
    record = await database.run(lambda tx: operations.get(tx, culprit.id))
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
