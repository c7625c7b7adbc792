"""An event that is published on the caller's handle is the caller's, as a job is: commit and rollback decide."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from remit.db.transaction import run_blocking
from remit.errors import ForeignTransaction, IdTaken, LeaseLost
from remit.execution import operations as execution
from remit.execution.model import Allotment, Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, GaveUp, decide
from remit.outbox import operations as outbox
from remit.outbox.model import EventRecord
from tests.db.handles.kinds import NOW, REGISTER, WORKER, Caller, Outside, job, url_of
from tests.db.handles.test_transactions import on_every_blocking_kind, on_every_kind

PAYLOAD = '{"text":"100 % of %s and :name, ? and $1 \\ud800 \\u0000 ☃"}'
LANES = [-(2**63), -1, 0, 2**63 - 1]


def event(**changes: Any) -> dict[str, Any]:
    row = {"id": new_id(), "version": 1, "domain": "billing", "name": "billing.invoice-paid", "encoding": "json"}
    return {**row, "payload": PAYLOAD, **changes}


def read(outside: Outside, id: str) -> EventRecord | None:
    return outside.database.run(lambda tx: outbox.get_event(tx, id), atomic=False)


async def publish(outside: Outside, caller: Caller, *rows: dict[str, Any]) -> int:
    return await outbox.publish(outside.store.adopt(caller.handle), rows, store=outside.identity)


@on_every_kind
async def test_a_commit_keeps_the_events_beside_the_callers_rows(outside: Outside, caller: Caller) -> None:
    await caller.does("INSERT INTO note VALUES ('before')")
    said = event(
        occurred_at=NOW - 1, correlation=new_id(), causation=new_id(), scope='{"t":1}', traceparent="00-1", keep=1.5
    )
    rows = [said, *(event(lane=lane) for lane in LANES)]
    assert await publish(outside, caller, *rows) == 5
    await caller.does("INSERT INTO note VALUES ('then')")
    assert caller.is_open()
    assert [read(outside, row["id"]) for row in rows] == [None] * 5
    await caller.commits()
    record = read(outside, said["id"])
    assert record is not None
    assert (record.payload_text, record.scope, record.traceparent) == (PAYLOAD, {"t": 1}, "00-1")
    assert (record.correlation, record.causation) == (said["correlation"], said["causation"])
    assert (record.published_at - record.occurred_at).microseconds == 1
    assert all(read(outside, row["id"]) for row in rows)
    assert outside.notes() == ["before", "then"]


@on_every_kind
async def test_a_rollback_leaves_no_event(outside: Outside, caller: Caller) -> None:
    await caller.does("INSERT INTO note VALUES ('before')")
    row = event(lane=1)
    await publish(outside, caller, row)
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.rolls_back()
    assert read(outside, row["id"]) is None
    assert outside.notes() == []


@on_every_kind
async def test_a_publish_may_be_the_only_thing_in_a_transaction(outside: Outside, caller: Caller) -> None:
    row = event(lane=1)
    await publish(outside, caller, row)
    assert read(outside, row["id"]) is None
    await caller.commits()
    assert read(outside, row["id"]) is not None


@on_every_kind
async def test_a_duplicate_aborts_nothing(outside: Outside, caller: Caller) -> None:
    row = event()
    assert await publish(outside, caller, row) == 1
    assert await publish(outside, caller, {**row, "payload": "{}"}) == 0
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.commits()
    record = read(outside, row["id"])
    assert record is not None
    assert record.payload_text == PAYLOAD
    assert outside.notes() == ["then"]


@on_every_kind
async def test_an_id_of_another_kind_is_refused_and_the_transaction_goes_on(outside: Outside, caller: Caller) -> None:
    row, work = event(kinds=["billing.invoice-paid"]), job(kinds=["billing.sync"])
    other: dict[str, Any] = {"name": "billing.other", "kinds": ["billing.other"]}
    await publish(outside, caller, row)
    await jobs.enqueue(outside.store.adopt(caller.handle), [work], store=outside.identity)
    with pytest.raises(IdTaken, match=r"the id of billing\.invoice-paid already, and billing\.other was not written"):
        await publish(outside, caller, {**row, **other})
    with pytest.raises(IdTaken, match=rf"the id of {work['name']} already, and billing\.other was not written"):
        await jobs.enqueue(outside.store.adopt(caller.handle), [{**work, **other}], store=outside.identity)
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.commits()
    assert read(outside, row["id"]) is not None
    assert outside.notes() == ["then"]


@on_every_kind
async def test_another_store_is_refused_and_the_transaction_goes_on(outside: Outside, caller: Caller) -> None:
    row = event(lane=1)
    with pytest.raises(ForeignTransaction):
        await outbox.publish(outside.store.adopt(caller.handle), [row], store=new_id())
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.commits()
    assert read(outside, row["id"]) is None
    assert outside.notes() == ["then"]


@on_every_kind
async def test_more_than_a_thousand_are_published_in_order(outside: Outside, caller: Caller) -> None:
    rows = [event(lane=place % 2) for place in range(outbox.LARGEST_INSERT + 1)]
    assert await publish(outside, caller, *rows) == len(rows)
    await caller.commits()
    table = {"sqlite": "remit_event", "postgres": "remit.event"}[outside.store.dialect]
    assert [str(id) for (id,) in outside.execute(f"SELECT id FROM {table} ORDER BY seq")] == [row["id"] for row in rows]


@on_every_blocking_kind
async def test_a_publish_on_a_blocking_handle_never_suspends(outside: Outside, caller: Caller) -> None:
    row = event(lane=1)
    run_blocking(outbox.publish(outside.store.adopt(caller.handle), [row], store=outside.identity))
    await caller.commits()
    assert read(outside, row["id"]) is not None


@on_every_kind
async def test_a_completion_on_the_callers_handle_publishes_with_it(outside: Outside, caller: Caller) -> None:
    """Its own events; and a death is one too."""
    ids = sorted([outside.enqueue(), outside.enqueue()])
    with outside.database.session() as session:
        run_blocking(session.execute(REGISTER[outside.store.dialect]))
    asked = [Allotment(7, "billing.default", 2)]
    outside.database.run(lambda tx: execution.claim(tx, asked, worker=WORKER, token=11))
    row = event(causation=ids[0], lane=5)
    done = Ended(ids[0], 11, 1, decide(Completed(), failures=0, attempts=3), [job(causation=ids[0])], events=[row])
    died = Ended(ids[1], 11, 1, decide(GaveUp("no", None), failures=0, attempts=3), [])
    tx = outside.store.adopt(caller.handle)
    for end in (done, died):
        await execution.complete(tx, end, worker=WORKER, stamp=new_token())
    assert read(outside, row["id"]) is None
    await caller.commits()
    assert read(outside, row["id"]) is not None
    [found] = outside.database.run(
        lambda tx: outbox.list_events(tx, state=None, domain=None, names=["remit.job-died"], after=None, limit=5)
    ).events
    assert (found.causation, found.payload["job"], found.payload["reason"]) == (ids[1], ids[1], "no")


@on_every_kind
async def test_a_lost_lease_publishes_nothing_though_the_error_is_swallowed(outside: Outside, caller: Caller) -> None:
    id = outside.enqueue()
    row = event(causation=id)
    ended = Ended(id, 4711, 1, decide(Completed(), failures=0, attempts=3), [], events=[row])
    with pytest.raises(LeaseLost):
        await execution.complete(outside.store.adopt(caller.handle), ended, worker=new_id(), stamp=new_token())
    await caller.commits()
    assert read(outside, row["id"]) is None


@pytest.mark.parametrize("outside", ["postgres"], indirect=True)
async def test_codecs_of_the_callers_asyncpg_connection_are_no_matter_to_an_event(outside: Outside) -> None:
    connection = await asyncpg.connect(url_of(outside.store))
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("uuid", encoder=lambda id: id.hex, decoder=str, schema="pg_catalog")
    row = event(lane=LANES[0], correlation=new_id())
    async with connection.transaction():
        assert await outbox.publish(outside.store.adopt(connection), [row], store=outside.identity) == 1
    await connection.close()
    record = read(outside, row["id"])
    assert record is not None
    assert record.payload_text == PAYLOAD
