"""The tables of events: added to a store that has worked for long, they are those of a new one; what they refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from remit import schema
from remit.db.opening import open_store
from remit.db.statements import statements
from remit.db.store import Store
from remit.db.transaction import Role
from remit.execution import operations as execution
from remit.execution.model import Allotment, Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, GaveUp, State, decide
from remit.outbox import operations as outbox
from remit.runtime import operations as workers
from tests.conformance.desk import DAWN, DELIVERIES, LINE, QUEUE, WEEK, Desk, a_job, a_subscription, an_event
from tests.schema.test_constraints import REFUSALS
from tests.schema.test_migrations import SQLITE_MASTER, connection_of, dump
from tests.servers import PostgresServer

# --- a store that has worked for long


def first_release(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring a store to where it was before there were events."""
    first = schema.history(store.dialect)[:1]
    monkeypatch.setattr(schema, "history", lambda dialect: first)
    assert [step.version for step in schema.migrate(store)] == [1]
    monkeypatch.undo()


JOBS = {
    "postgres": """
        INSERT INTO remit.job (
            id, line, state, run_at, created_at, finished_at, version, attempts, domain, queue, name, encoding, payload
        )
        SELECT ('01a20000-0000-7000-8000-00000000000' || place)::uuid, 7, state, now(), now(),
            CASE WHEN state <> 'ready' THEN now() END, 1, 3, 'billing', 'billing.invoices', 'billing.sync', 'json', '{}'
        FROM (VALUES (1, 'ready'), (2, 'completed'), (3, 'dead')) AS each (place, state)
    """,
    "sqlite": """
        INSERT INTO remit_job (
            id, line, state, run_at, created_at, finished_at, version, attempts, domain, queue, name, encoding, payload
        )
        SELECT '01a20000-0000-7000-8000-00000000000' || column1, 7, column2, 1, 1,
            CASE WHEN column2 <> 'ready' THEN 1 END, 1, 3, 'billing', 'billing.invoices', 'billing.sync', 'json', '{}'
        FROM (VALUES (1, 'ready'), (2, 'completed'), (3, 'dead'))
    """,
}


async def test_a_store_with_jobs_gets_events_and_keeps_its_jobs(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(store_url)
    first_release(store, monkeypatch)
    async with Desk(store, "asyncio") as desk:
        await desk.execute(JOBS[store.dialect].replace("{}", "{{}}"))
    assert [step.name for step in schema.migrate(store)] == ["events"]
    schema.check(store)
    async with Desk(store, "asyncio") as desk:
        found = await desk.execute("SELECT state, subscription FROM {job} ORDER BY id")
        assert found == [("ready", None), ("completed", None), ("dead", None)]
        claim = await desk.claim_one()
        await desk.finish(claim, GaveUp("no", None))
        desk.wait(100)
        assert await desk(jobs.prune, queue="billing.invoices", age=1.0, dead=True, limit=10) == 2
        assert (await desk.count("delivery"), await desk.count("event")) == (0, 1), "the death of the last"
        await desk.subscribe()
        id = await desk.publish()
        await desk.dispatch()
        assert await desk.deliveries(id) == {"catalog.unlock": "ready"}


def test_a_server_that_was_upgraded_is_as_a_new_one(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = open_store(postgres_server.create_database()), open_store(postgres_url)
    first_release(old, monkeypatch)
    with psycopg.connect(old.url, autocommit=True) as connection:
        connection.execute(JOBS["postgres"].encode())
    schema.migrate(old)
    schema.migrate(new)
    assert dump(postgres_server, old.url) == dump(postgres_server, postgres_url)
    postgres_server.drop_database(old.url)


def test_a_file_that_was_upgraded_is_as_a_new_one(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (open_store(f"sqlite:///{tmp_path / name}.db") for name in ("old", "new"))
    first_release(old, monkeypatch)
    connection = connection_of(old)
    connection.execute(JOBS["sqlite"])
    connection.close()
    schema.migrate(old)
    schema.migrate(new)
    masters = []
    for store in (old, new):
        connection = connection_of(store)
        masters.append(connection.execute(SQLITE_MASTER).fetchall())
        connection.close()
    assert masters[0] == masters[1]


def test_a_schema_of_another_name_holds_its_own_events(postgres_url: str) -> None:
    """Functions, views and triggers too."""
    stores = [open_store(postgres_url, schema=name) for name in ("remit", "work")]
    for store in stores:
        schema.migrate(store)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA remit CASCADE")
    database = stores[1].blocking(Role.CLIENT)

    async def life(tx: Any) -> str:
        event = an_event()
        known = [{"name": event["name"], "version": 1, "former": []}]
        await outbox.declare(tx, [a_subscription(where={"invoice_id": ["i-1"]})], known, force=False)
        await outbox.publish(tx, [event], store=await jobs.store(tx))
        assert (await outbox.dispatch(tx, limit=9, keep=WEEK)).jobs == 1
        worker = new_id()
        await workers.register(tx, worker, host="here", pid=1, about="{}")
        [claim], _ = await execution.claim(tx, [Allotment(DELIVERIES | 1, QUEUE, 9)], worker=worker, token=new_token())
        end = Ended(claim.id, claim.token, 1, decide(Completed(), failures=0, attempts=3), [])
        await execution.finish(tx, [end], worker=worker, stamp=new_token())
        await jobs.delete(tx, claim.id, purge=True)
        record = await outbox.get_event(tx, event["id"])
        assert record is not None
        return record.records[0].state

    assert database.run(life) == "completed"
    database.close()


def test_both_dialects_have_the_same_statements_in_the_same_order() -> None:
    assert list(statements("remit.outbox", "postgres")) == list(statements("remit.outbox", "sqlite"))


# --- rows that cannot be


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        store = open_store(f"sqlite:///{tmp_path_factory.mktemp('events') / 'remit.db'}")
        schema.migrate(store)
        yield store
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create_database()
        store = open_store(url)
        schema.migrate(store)
        yield store
        server.drop_database(url)


@pytest.fixture
async def desk(migrated: Store) -> AsyncIterator[Desk]:
    async with Desk(migrated, "asyncio") as one:
        for table in ("job", "event", "subscription"):
            await one.execute(f"DELETE FROM {{{table}}}")
        yield one


def moment(desk: Desk) -> Any:
    return "2027-01-15 08:00Z" if desk.store.dialect == "postgres" else DAWN


def possible(desk: Desk, table: str) -> dict[str, Any]:
    now = moment(desk)
    rows: dict[str, dict[str, Any]] = {
        "event": {
            "id": new_id(), "due_at": now, "published_at": now, "occurred_at": now, "version": 1, "domain": "billing",
            "name": "billing.invoice-paid", "encoding": "json", "payload": "{}", "state": "pending",
        },
        "subscription": {
            "id": new_id(), "name": "catalog.unlock", "line": 1, "attempts": 3, "priority": 0, "domain": "catalog",
            "queue": "catalog.default", "events": "[]", "on_dead": "block", "stale_after": 1.0, "fingerprint": "x",
            "created_at": now,
        },
    }  # fmt: skip
    return rows[table]


async def insert(desk: Desk, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    await desk.execute(f"INSERT INTO {{{table}}} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


@pytest.mark.parametrize("table", ["event", "subscription"])
async def test_a_possible_row_is_taken(desk: Desk, table: str) -> None:
    await insert(desk, table, possible(desk, table))
    assert await desk.count(table) == 1


IMPOSSIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "a state that nobody knows": ("event", {"state": "asleep"}),
    "no state": ("event", {"state": None}),
    "dispatched, and never": ("event", {"state": "dispatched"}),
    "pending, and dispatched": ("event", {"dispatched_at": ...}),
    "dead, and dispatched": ("event", {"state": "dead", "dispatched_at": ...}),
    **{
        f"an event without {what}": ("event", {what: None})
        for what in ("id", "due_at", "published_at", "occurred_at", "version", "domain", "name", "encoding", "payload")
    },
    "a dead head that neither blocks nor passes": ("subscription", {"on_dead": "wait"}),
    "no attempts": ("subscription", {"attempts": 0}),
    **{
        f"a subscription without {what}": ("subscription", {what: None})
        for what in ("id", "name", "line", "attempts", "queue", "events", "on_dead", "fingerprint", "created_at")
    },
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
async def test_an_impossible_row_is_refused(desk: Desk, what: str) -> None:
    table, changes = IMPOSSIBLE[what]
    changes = {name: moment(desk) if value is ... else value for name, value in changes.items()}
    with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
        await insert(desk, table, possible(desk, table) | changes)
    assert await desk.count(table) == 0


@pytest.mark.parametrize("table, column", [("event", "id"), ("subscription", "id"), ("subscription", "name")])
async def test_what_names_a_row_is_given_once(desk: Desk, table: str, column: str) -> None:
    row = possible(desk, table)
    await insert(desk, table, row)
    with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
        await insert(desk, table, possible(desk, table) | {"name": f"another.{table}"} | {column: row[column]})


async def test_a_turn_is_of_a_subscription_and_a_lane_lets_one_in(desk: Desk) -> None:
    subscription = possible(desk, "subscription")
    await insert(desk, "subscription", subscription)
    yes: Any = True if desk.store.dialect == "postgres" else 1
    turn = {"subscription": subscription["id"], "lane": 1, "seq": 1, "event": new_id(), "released": yes}
    await insert(desk, "turn", turn)
    for impossible in ({"subscription": new_id()}, {"seq": 2}, {}):
        with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
            await insert(desk, "turn", turn | impossible)
    await insert(desk, "turn", turn | {"seq": 2, "released": not yes})
    await insert(desk, "turn", turn | {"lane": 2})
    assert await desk.count("turn") == 3


async def test_what_is_left_of_a_delivery_is_of_an_event_and_goes_with_it(desk: Desk) -> None:
    event = possible(desk, "event")
    await insert(desk, "event", event)
    row = {"event": event["id"], "subscription": new_id(), "state": "completed", "finished_at": moment(desk)}
    await insert(desk, "delivery", row)
    for impossible in ({}, {"event": new_id()}):
        with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
            await insert(desk, "delivery", row | impossible)
    await desk.execute("DELETE FROM {event}")
    assert await desk.count("delivery") == 0


# --- what the schema does by itself


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
async def test_of_a_delivery_that_goes_its_end_is_left(desk: Desk, state: State) -> None:
    subscription = await desk.subscribe()
    id = await desk.publish()
    await desk.dispatch()
    job = await desk.delivery(id)
    ends = "" if state in (State.SCHEDULED, State.READY) else ", finished_at = ?"
    await desk.execute(f"UPDATE {{job}} SET state = ?{ends} WHERE id = ?", [state, *([moment(desk)] * bool(ends)), job])
    await desk.execute("DELETE FROM {job}")
    [(event, of, left)] = await desk.execute("SELECT event, subscription, state FROM {delivery}")
    assert (str(event), str(of)) == (id, subscription)
    assert left == (state if state.is_final else "cancelled")


async def test_of_a_job_that_delivers_nothing_nothing_is_left(desk: Desk) -> None:
    await desk.enqueue_many([a_job(line=LINE) for _ in range(3)])
    await desk.execute("DELETE FROM {job}")
    assert await desk.count("delivery") == 0


async def test_of_a_delivery_whose_event_is_gone_nothing_is_left(desk: Desk) -> None:
    await desk.subscribe()
    await desk.publish()
    await desk.dispatch()
    await desk.execute("DELETE FROM {event}")
    await desk.execute("DELETE FROM {job}")
    assert await desk.count("delivery") == 0


async def test_the_id_of_a_delivery_is_made_of_its_event_and_its_subscription(desk: Desk) -> None:
    """The same on both engines, so that a store can be moved; and in the order of the events."""
    function = (
        "remit.derived_id(?::uuid, ?::uuid)::text" if desk.store.dialect == "postgres" else "remit_derived_id(?, ?)"
    )
    pair = ["01a20159-20ed-7e78-ae4d-d74b88bd2860", "01a20000-0000-7000-8000-000000000001"]
    [(id,)] = await desk.execute(f"SELECT {function}", pair)
    assert id == "01a20159-20ed-7e78-865c-7ad783150339"
