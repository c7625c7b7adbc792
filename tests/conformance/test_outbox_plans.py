"""The statements of the outbox go by the indexes that were made for them, however large the log is.

PostgreSQL does on an empty log, on a full one, on one that was never analysed, and in a session that made its plans
while the log was empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from remit import schema
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.db.statements import Query, render, statements
from remit.db.transaction import Role, Session, Transaction
from remit.jobs import operations as jobs
from remit.outbox import operations as outbox
from tests.conformance.desk import PAID, QUEUE, WEEK
from tests.conformance.test_plans import Act, Recorder, explain, role
from tests.servers import PostgresServer

LARGE = {"event", "job", "turn", "delivery", "event_archive"}
"""Tables that grow with the load."""

ORDERED, PLAIN = "01a20000-0000-7000-8000-000000000001", "01a20000-0000-7000-8000-000000000002"
RETIRED = "01a20000-0000-7000-8000-000000000003"

FILL = f"""
    INSERT INTO remit.subscription (
        id, name, line, attempts, priority, domain, queue, events, ordered_by, on_dead, stale_after, fingerprint,
        created_at
    )
    SELECT id::uuid, name, 0, 3, 0, 'catalog', 'catalog.default', '["{PAID}"]', ordered_by, 'block', 60, 'x', now()
    FROM (VALUES ('{ORDERED}', 'catalog.ordered', 'id'), ('{PLAIN}', 'catalog.plain', NULL))
        AS each (id, name, ordered_by)
    ON CONFLICT DO NOTHING;
    INSERT INTO remit.subscription (
        id, name, line, attempts, priority, domain, queue, events, on_dead, stale_after, fingerprint, created_at,
        retired_at
    )
    VALUES ('{RETIRED}', 'catalog.retired', 0, 3, 0, 'catalog', 'catalog.default', '[]', 'block', 60, 'x', now(), now())
    ON CONFLICT DO NOTHING;
    INSERT INTO remit.event (
        id, lane, due_at, published_at, occurred_at, dispatched_at, version, attempts, state, domain, name, encoding,
        payload
    )
    SELECT
        uuidv7(), CASE WHEN place % 3 = 0 THEN place % 500 END, clock_timestamp(), clock_timestamp(), clock_timestamp(),
        CASE WHEN state = 'dispatched' THEN clock_timestamp() END, 1, CASE WHEN state = 'dead' THEN 1 ELSE 0 END, state,
        'billing', CASE WHEN place % 20 = 0 THEN '{PAID}' ELSE 'billing.other' END, 'json', '{{"n":1}}'
    FROM (
        SELECT place,
            CASE WHEN place % 100 = 7 THEN 'pending' WHEN place % 2000 = 8 THEN 'dead' ELSE 'dispatched' END AS state
        FROM generate_series(1, 20000) AS place
    ) AS each;
    INSERT INTO remit.turn (subscription, lane, seq, event, released)
    SELECT '{ORDERED}', lane, seq, id, seq = min(seq) OVER (PARTITION BY lane)
    FROM remit.event WHERE lane IS NOT NULL ON CONFLICT DO NOTHING;
    INSERT INTO remit.job (
        id, line, state, run_at, created_at, finished_at, event_id, subscription, version, attempts, domain, queue,
        name, encoding
    )
    SELECT
        remit.derived_id(id, '{PLAIN}'), 1, 'completed', now(), now(), now(), id, '{PLAIN}', 1, 3, 'catalog', '{QUEUE}',
        'catalog.plain', 'json'
    FROM remit.event WHERE seq % 2 = 0 ON CONFLICT DO NOTHING;
    INSERT INTO remit.job (
        id, line, state, worker, run_at, created_at, event_id, subscription, version, attempts, domain, queue, name,
        encoding
    )
    SELECT
        remit.derived_id(id, '{RETIRED}'), 2, state, CASE WHEN state = 'running' THEN id END, now(), now(), id,
        '{RETIRED}', 1, 3, 'catalog', '{QUEUE}', 'catalog.retired', 'json'
    FROM (
        SELECT id, CASE seq % 300 WHEN 0 THEN 'ready' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'running' END AS state
        FROM remit.event
    ) AS each
    WHERE state IS NOT NULL ON CONFLICT DO NOTHING;
    INSERT INTO remit.delivery SELECT id, '{PLAIN}', 'completed', now() FROM remit.event WHERE seq % 2 = 1
    ON CONFLICT DO NOTHING;
    INSERT INTO remit.event_archive
    SELECT uuidv7(), now(), now(), now(), NULL, NULL, 1, 0, 'billing', '{PAID}', 'json', '{{}}', NULL, NULL
    FROM generate_series(1, 5000);
"""
TABLES = ("event", "job", "turn", "delivery", "event_archive", "subscription")


def reads(node: dict[str, Any], found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """How a plan reads each large table."""
    if node.get("Relation Name") in LARGE and node["Node Type"] != "ModifyTable":
        found.add((node["Relation Name"], node["Node Type"]))
    for child in node.get("Plans", ()):
        reads(child, found)
    return found


def indexes(node: dict[str, Any], found: set[str]) -> set[str]:
    if "Index Name" in node:
        found.add(node["Index Name"])
    for child in node.get("Plans", ()):
        indexes(child, found)
    return found


async def plan(session: Session, operation: Act) -> tuple[set[tuple[str, str]], set[str]]:
    """Run an operation; how the session, with its settings and its past, reads the tables, and by which indexes."""
    recorder = Recorder(session)
    await operation(recorder)
    kinds: set[tuple[str, str]] = set()
    names: set[str] = set()
    for text, arguments in recorder.ran:
        known = await session.execute("SELECT name, statement FROM pg_prepared_statements")
        prepared = [name for name, statement in known if statement == text]
        for one in await explain(session.connection, prepared, text, arguments):
            reads(one["Plan"], kinds)
            indexes(one["Plan"], names)
    return kinds, names


async def dispatch(tx: Transaction) -> object:
    return await outbox.dispatch(tx, limit=100, keep=WEEK)


async def dispatch_some(tx: Transaction) -> object:
    return await outbox.dispatch(tx, limit=100, keep=WEEK, only=[ORDERED, PLAIN])


async def pending(tx: Transaction) -> object:
    return await outbox.pending(tx, limit=100)


async def release(tx: Transaction) -> object:
    return await outbox.release(tx, [(ORDERED, lane) for lane in range(50)])


async def lanes(tx: Transaction) -> object:
    return await outbox.lanes(tx, after=(PLAIN[:-1] + "0", 0), limit=100)


async def purge(tx: Transaction) -> object:
    return await outbox.purge_events(tx, keep=WEEK, archive=True, again=10.0, limit=100)


async def purge_archive(tx: Transaction) -> object:
    return await outbox.purge_archive(tx, age=WEEK, limit=100)


async def prune(tx: Transaction) -> object:
    return await jobs.prune(tx, queue=QUEUE, age=WEEK, dead=False, limit=100)


async def fill(tx: Transaction) -> object:
    return await outbox.fill(tx, PLAIN, [PAID, "billing.paid"], since=None, until=None, after=-1, limit=100)


async def get(tx: Transaction) -> object:
    return await outbox.get_event(tx, "01a20000-0000-7000-8000-000000000009")


async def fail(tx: Transaction) -> object:
    return await outbox.fail(tx, "01a20000-0000-7000-8000-000000000009", error="no", most=3, delay=1.0)


async def cancellable(tx: Transaction) -> object:
    return await outbox.cancellable(tx, RETIRED, limit=500)


async def cancel_many(tx: Transaction) -> object:
    return await jobs.cancel_many(tx, [RETIRED, PLAIN], reason="no", by=None)


def listed(**filters: Any) -> Act:
    async def page(tx: Transaction) -> object:
        nothing: dict[str, Any] = dict.fromkeys(["state", "domain", "names", "after"])
        return await outbox.list_events(tx, **{**nothing, **filters}, limit=50)

    return page


HOT = {
    "dispatch": (Role.RELAY, dispatch, {"event_pending", "event_lane", "event_failed", "event_pkey", "delivery_pkey"}),
    "dispatch some": (Role.RELAY, dispatch_some, {"event_pkey"}),
    "pending": (Role.RELAY, pending, {"event_pending", "event_failed"}),
    "release": (Role.RELAY, release, {"turn_pkey", "turn_released", "job_pkey", "delivery_pkey", "event_pkey"}),
    "lanes": (Role.RELAY, lanes, {"turn_pkey", "turn_released", "job_pkey", "delivery_pkey"}),
    "fail": (Role.RELAY, fail, {"event_pkey"}),
}
"""Role, operation, and the indexes that it cannot do without."""

REGULAR = {
    "purge": (Role.LEADER, purge, {"event_dispatched", "job_pkey", "delivery_pkey", "turn_pkey"}),
    "purge the archive": (Role.LEADER, purge_archive, {"event_archive_age"}),
    "prune": (Role.LEADER, prune, {"job_final"}),
    "fill": (Role.CLIENT, fill, {"event_log", "job_pkey"}),
    "get": (Role.CLIENT, get, {"event_pkey"}),
    "cancellable": (Role.CLIENT, cancellable, {"job_ready", "job_scheduled", "job_running"}),
    "cancel": (Role.CLIENT, cancel_many, {"job_pkey"}),
}

LISTS = {
    "list": (Role.CLIENT, listed(), {"event_pkey"}),
    "the next page": (Role.CLIENT, listed(after="7fffffff-0000-7000-8000-000000000000"), {"event_pkey"}),
    "dead events": (Role.CLIENT, listed(state="dead"), {"event_dead"}),
}


@pytest.fixture(scope="module")
def tables(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """A database per state of the log; no autovacuum, so that none is analysed behind our back."""
    urls = {name: postgres_server.create_database() for name in ("empty", "full", "never analysed")}
    for name, url in urls.items():
        schema.migrate(open_store(url))
        with psycopg.connect(url, autocommit=True) as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE remit.{table} SET (autovacuum_enabled = off)".encode())
            if name != "empty":
                connection.execute(FILL.encode())
            if name == "full":
                connection.execute("ANALYZE")
    yield urls
    for url in urls.values():
        postgres_server.drop_database(url)


def holds(found: tuple[set[tuple[str, str]], set[str]], wanted: set[str]) -> None:
    kinds, names = found
    assert {table for table, kind in kinds if kind == "Seq Scan"} == set()
    assert wanted - names == set()


@pytest.mark.parametrize("table", ["empty", "full", "never analysed"])
@pytest.mark.parametrize("name", HOT)
async def test_the_relay_and_the_usher_go_by_their_indexes_whatever_the_log(
    tables: dict[str, str], table: str, name: str
) -> None:
    which, operation, wanted = HOT[name]
    async with role(tables[table], which) as session:
        holds(await plan(session, operation), wanted)


@pytest.mark.parametrize("table", ["full", "never analysed"])
@pytest.mark.parametrize("name", REGULAR)
async def test_what_is_done_now_and_then_goes_by_its_index_where_there_is_much(
    tables: dict[str, str], table: str, name: str
) -> None:
    await settles(tables[table], *REGULAR[name])


@pytest.mark.parametrize("name", LISTS)
async def test_lists_go_by_an_index_once_the_server_knows_the_log(tables: dict[str, str], name: str) -> None:
    await settles(tables["full"], *LISTS[name])


async def settles(url: str, which: Role, operation: Act, wanted: set[str]) -> None:
    """After five times, the server may settle on one plan for all parameters."""
    async with role(url, which) as session:
        for _ in range(7):
            found = await plan(session, operation)
    holds(found, wanted)


@pytest.mark.parametrize("name", [*HOT, *REGULAR])
async def test_a_session_that_began_on_an_empty_log_goes_by_the_index_when_it_is_full(
    tables: dict[str, str], name: str
) -> None:
    which, operation, wanted = (HOT | REGULAR)[name]
    async with role(tables["empty"], which) as session:
        for _ in range(7):
            await operation(session)
        await session.execute(FILL)
        holds(await plan(session, operation), wanted)


def test_no_statement_scans_the_log_of_a_sqlite_file(empty_sqlite: str) -> None:
    store = open_store(empty_sqlite)
    assert isinstance(store, SqliteStore)
    connection = store.connect()
    scanning = set()
    for name in statements("remit.outbox", "sqlite"):
        rendered = render(Query("remit.outbox", name), "sqlite", "named")
        for part, names in zip(rendered.parts, rendered.names, strict=True):
            if part.startswith("CREATE TEMP TABLE"):
                connection.execute(part)
                continue
            steps = connection.execute(f"EXPLAIN QUERY PLAN {part}", dict.fromkeys(names)).fetchall()
            full = [step.split()[1] for *_, step in steps if step.startswith("SCAN") and "INDEX" not in step]
            full += [step.split()[1] for *_, step in steps if "AUTOMATIC" in step]  # made by going through all of it
            scanning |= {(name, table) for table in full if table.removeprefix("remit_") in {*LARGE, "earlier", "one"}}
    connection.close()
    assert scanning == {("deliveries_by_state", "turn")}, "it counts those that wait"
