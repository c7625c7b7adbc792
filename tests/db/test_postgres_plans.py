"""Plans that are kept: one that was made on an empty table must not stay when the table is full."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import psycopg
import pytest

from remit import schema
from remit.db.opening import open_store
from remit.db.postgres import connection as postgres_connection
from remit.db.postgres.store import PostgresStore
from remit.db.transaction import Role, Transaction
from remit.execution import operations as execution
from remit.execution import queries as execution_queries
from remit.execution.model import Ended
from remit.jobs.ids import new_token
from remit.jobs.states import State, Transition

FILL = """
INSERT INTO remit.job (id, line, run_at, created_at, version, attempts, state, domain, queue, name, encoding, payload)
SELECT gen_random_uuid(), 1, now(), now(), 1, 3, 'ready', 'd', 'q', 'n', 'json', '{}' FROM generate_series(1, 20000)
"""


@pytest.fixture
def store(postgres_url: str) -> PostgresStore:
    """A store whose tables were emptied and vacuumed: the planner knows that there is nothing in them."""
    store = open_store(postgres_url)
    assert isinstance(store, PostgresStore)
    schema.migrate(store)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return store


async def finish_nothing(tx: Transaction) -> None:
    transition = Transition(State.COMPLETED, 0)
    await execution.finish(tx, [Ended(str(uuid4()), 1, 1, transition, [])], worker=str(uuid4()), stamp=new_token())


async def kept_plan(tx: Transaction) -> str:
    """The plan that this session keeps for a completion."""
    assert isinstance(tx, postgres_connection.AwaitingTransaction)
    rows = await tx.execute("SELECT name, statement FROM pg_prepared_statements")
    [name] = [name for name, statement in rows if "landed AS" in statement]
    parameters = ", ".join(["NULL"] * 10)
    plan = await tx.execute(f'EXPLAIN (FORMAT JSON) EXECUTE "{name}" ({parameters})')
    return json.dumps(plan[0][0])


async def test_a_plan_that_turned_out_slow_is_made_anew(
    store: PostgresStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store.database(Role.COMPLETE)
    try:
        await database.run(finish_nothing, atomic=False)
        first = await database.run(kept_plan, atomic=False)
        assert "(id = outcome" not in first, "or there is nothing to mend"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(FILL)
        monkeypatch.setattr(postgres_connection, "SLOW", 0.0)
        monkeypatch.setattr(postgres_connection, "BETWEEN_PLANS", 0.0)
        await database.run(finish_nothing, atomic=False)
        plan = (await database.run(kept_plan, atomic=False)).replace("_1", "")
        assert '"Index Cond": "(id = outcome.id)"' in plan
    finally:
        await database.close()


async def test_a_claim_goes_by_the_ids_whatever_was_known_of_the_table(store: PostgresStore) -> None:
    statement, _ = store.context.spell(
        execution_queries.CLAIM, {"lines": None, "worker": None, "token": None, "suspects": None}
    )
    with store.connect(Role.CLAIM) as connection:
        connection.execute(b"PREPARE claim AS " + statement.text)
        nothing = ", ".join(["NULL"] * len(set(re.findall(rb"\$\d+", statement.text))))
        rows = connection.execute(f"EXPLAIN EXECUTE claim ({nothing})").fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "Index Cond: (id = ANY (" in plan
    assert "Index Cond: (id = claimed.event_id)" in plan
