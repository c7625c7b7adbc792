"""A send on the caller's handle is the caller's: its commit and its rollback decide, and remit ends nothing."""

from typing import Any

import pytest

from remit.client import records
from remit.db.handles import is_blocking
from remit.db.transaction import Transaction, run_blocking
from remit.errors import ForeignTransaction, LeaseLost
from remit.execution import operations as execution
from remit.execution.model import Allotment, Ended
from remit.jobs import operations
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, Failure, State, decide
from tests.db.handles.kinds import NOW, POSTGRES, REGISTER, SQLITE, WORKER, Caller, Outside, job

KINDS = [
    *[pytest.param("postgres", kind, id=f"postgres-{name}") for name, kind in POSTGRES.items()],
    *[pytest.param("sqlite", kind, id=f"sqlite-{name}") for name, kind in SQLITE.items()],
]


on_every_kind = pytest.mark.parametrize("outside, caller", KINDS, indirect=True)
on_every_blocking_kind = pytest.mark.parametrize(
    "outside, caller",
    [param for param in KINDS if not any(word in str(param.id) for word in ("async", "aiosqlite", "in-a-block"))],
    indirect=True,
)


async def send(outside: Outside, caller: Caller) -> str:
    row = job()
    await operations.enqueue(outside.store.adopt(caller.handle), [row], store=outside.identity)
    return str(row["id"])


@on_every_kind
async def test_a_commit_keeps_the_job_beside_the_callers_rows(outside: Outside, caller: Caller) -> None:
    await caller.does("INSERT INTO note VALUES ('before')")
    id = await send(outside, caller)
    await caller.does("INSERT INTO note VALUES ('then')")
    assert caller.is_open()
    assert not outside.has(id)
    await caller.commits()
    assert outside.has(id)
    assert outside.notes() == ["before", "then"]


@on_every_kind
async def test_a_rollback_leaves_nothing(outside: Outside, caller: Caller) -> None:
    await caller.does("INSERT INTO note VALUES ('before')")
    id = await send(outside, caller)
    await caller.does("INSERT INTO note VALUES ('then')")
    assert caller.is_open()
    await caller.rolls_back()
    assert not outside.has(id)
    assert outside.notes() == []


@on_every_kind
async def test_a_send_may_be_the_first_thing_in_a_transaction(outside: Outside, caller: Caller) -> None:
    id = await send(outside, caller)
    assert caller.is_open()
    assert not outside.has(id)
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.rolls_back()
    assert not outside.has(id)
    assert outside.notes() == []


@on_every_kind
async def test_a_send_may_be_the_only_thing_in_a_transaction(outside: Outside, caller: Caller) -> None:
    id = await send(outside, caller)
    assert not outside.has(id)
    await caller.commits()
    assert outside.has(id)


@on_every_kind
async def test_whether_a_handle_blocks_can_be_asked(outside: Outside, caller: Caller) -> None:
    assert is_blocking(outside.store.adopt(caller.handle)) is caller.blocking


@on_every_blocking_kind
async def test_a_blocking_handle_never_suspends(outside: Outside, caller: Caller) -> None:
    row = job()
    run_blocking(operations.enqueue(outside.store.adopt(caller.handle), [row], store=outside.identity))
    await caller.commits()
    assert outside.has(row["id"])


@on_every_kind
async def test_another_store_of_the_same_engine_is_refused_and_the_transaction_goes_on(
    outside: Outside, caller: Caller
) -> None:
    row = job()
    with pytest.raises(ForeignTransaction):
        await operations.enqueue(outside.store.adopt(caller.handle), [row], store=new_id())
    await caller.does("INSERT INTO note VALUES ('then')")
    await caller.commits()
    assert not outside.has(row["id"])
    assert outside.notes() == ["then"]


@on_every_kind
async def test_a_lost_lease_aborts_the_transaction_though_the_error_is_swallowed(
    outside: Outside, caller: Caller
) -> None:
    id = outside.enqueue()
    await caller.does("INSERT INTO note VALUES ('of a zombie')")
    ended = Ended(id, 4711, 1, decide(Completed('"done"'), failures=0, attempts=3), [])
    with pytest.raises(LeaseLost, match="no longer holds its job") as caught:
        await execution.complete(outside.store.adopt(caller.handle), ended, worker=new_id(), stamp=new_token())
    assert caught.value.__cause__ is not None
    await caller.commits()
    assert outside.notes() == []
    record = outside.database.run(lambda tx: records.get(tx, id))
    assert record is not None
    assert record.state == State.READY


async def tour(tx: Transaction, store: str, worker: str) -> list[Any]:
    """Every operation once, with every type of parameter; what each answered."""
    ids = [f"01900000-0000-7000-8000-00000000000{n}" for n in range(6)]
    answers: list[Any] = []

    async def note(answer: Any) -> Any:
        answers.append(result := await answer)
        return result

    later = job(id=ids[5], delay=3600.5, expires=7200.0, keep=1.5, label="late", backoff="{}", correlation=ids[0])
    sent = [job(id=id, requested_by='"me"', attachment="a/b", traceparent="00-1") for id in ids[:5]]
    assert await operations.store(tx) == store
    await note(operations.enqueue(tx, [*sent, later], store=store))
    await note(operations.enqueue(tx, [sent[0]], store=store))
    await note(execution.heads(tx, [(7, "billing.default"), (8, "none")]))
    await note(operations.lines(tx))
    await note(execution.claim(tx, [Allotment(7, "billing.default", 4)], worker=worker, token=11))
    await note(execution.held(tx, worker=worker))
    await note(execution.start_suspect(tx, ids[0], token=11))
    await note(execution.probe(tx, ids[0]))
    await note(execution.probe(tx, ids[0].replace("019", "018")))
    message = job(id=ids[0].replace("019", "01a"), causation=ids[0], correlation=ids[0])
    ended = [
        Ended(ids[0], 11, 1, decide(Completed('{"n": 1}'), failures=0, attempts=3), [message]),
        Ended(ids[1], 11, 1, decide(Failed(Failure("E", "m", "t"), 2.5), failures=0, attempts=3), []),
        Ended(ids[2], 11, 3, decide(Failed(Failure("E", "m", None), 2.5), failures=2, attempts=3), []),
    ]
    await note(execution.finish(tx, ended, worker=worker, stamp=12))
    await note(execution.complete(tx, Ended(ids[3], 11, 1, ended[0].transition, []), worker=worker, stamp=13))
    await note(operations.log(tx, [{"job": ids[0], "attempt": 1, "logged_at": NOW, "level": 20, "message": "hm"}]))
    await note(records.get(tx, ids[1]))
    await note(records.get(tx, ids[0]))
    nothing: dict[str, Any] = dict.fromkeys(("state", "domain", "queue", "names", "label", "after"))
    await note(records.list_jobs(tx, **nothing, reason=None, deleted=False, limit=10))
    some: dict[str, Any] = nothing | {"state": State.DEAD, "domain": "billing", "queue": "billing.default"}
    await note(records.list_jobs(tx, **some | {"after": ids[4]}, reason=None, deleted=True, limit=10))
    await note(operations.promote(tx, limit=10))
    await note(execution.rescue(tx, token=14, limit=10))
    await note(operations.cancel(tx, ids[4], reason="no", by=None))
    await note(operations.retry(tx, ids[4], token=15))
    await note(operations.cancel(tx, ids[5], reason=None, by="me"))
    await note(operations.delete(tx, ids[5], purge=False))
    await note(operations.waiting(tx))
    await note(operations.ended(tx, seconds=60.5))
    await note(operations.dead(tx))
    what: dict[str, Any] = {"domain": None, "queue": None, "names": None, "reason": "failed"}
    await note(operations.count(tx, **what, state=State.DEAD))
    await note(operations.replay(tx, **what, ended_before=NOW + 1, after=None, token=16, limit=10))
    await note(operations.delete(tx, ids[2], purge=True))
    await note(operations.final_queues(tx))
    await note(operations.prune(tx, queue="billing.default", age=0.5, dead=False, limit=10))
    await note(operations.prune_beyond(tx, queue="billing.default", count=1, limit=10))
    await note(operations.prune_kept(tx, limit=10))
    await note(operations.pause(tx, "billing.default", by="me"))
    await note(operations.paused(tx))
    await note(operations.resume(tx, "billing.default"))
    return answers


@on_every_kind
async def test_every_statement_answers_as_on_remits_own_connection(outside: Outside, caller: Caller) -> None:
    sql = REGISTER[outside.store.dialect]

    with outside.database.session() as session:
        run_blocking(session.execute(sql))
        expected = run_blocking(tour(session, outside.identity, WORKER))
        run_blocking(session.execute("DELETE FROM " + ("remit_job" if "remit_" in sql else "remit.job")))
        run_blocking(session.execute("DELETE FROM " + ("remit_worker" if "remit_" in sql else "remit.worker")))

    await caller.does(sql)
    found = await tour(outside.store.adopt(caller.handle), outside.identity, WORKER)
    await caller.commits()
    assert found == expected
