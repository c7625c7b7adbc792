"""Statements go by the indexes that were made for them.

PostgreSQL does on an empty table, on a full one, on one that was never analysed, and in a session that made its plans
while the table was empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from remit import schema
from remit.client import records
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.db.statements import Dialect, Query, render, statements
from remit.db.transaction import Role, Row, Session, Transaction, Value
from remit.execution import operations as execution
from remit.execution.model import Allotment, Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, decide
from tests.conformance.desk import QUEUE, Desk
from tests.servers import PostgresServer

Act = Callable[[Transaction], Coroutine[Any, Any, Any]]

FILL = """
    INSERT INTO remit.job (
        id, line, lane, state, run_at, created_at, finished_at, worker, token, version, priority, attempts, domain,
        queue, name, encoding, payload
    )
    SELECT
        uuidv7(), place % 4, 0, state, clock_timestamp(), clock_timestamp(),
        CASE WHEN state IN ('completed', 'dead') THEN clock_timestamp() END,
        CASE WHEN state = 'running' THEN '01a20000-0000-7000-8000-000000000000'::uuid END,
        place, 1, 0, 3, 'billing', 'billing.invoices', 'billing.sync-invoice', 'json', repeat('x', 200)
    FROM (
        SELECT place, CASE WHEN place % 40 = 0 THEN 'running' WHEN place % 40 = 1 THEN 'dead'
            WHEN place % 10 = 2 THEN 'scheduled' WHEN place % 2 = 0 THEN 'ready' ELSE 'completed' END AS state
        FROM generate_series(1, 20000) AS place
    ) AS each
"""


@dataclass
class Recorder:
    """Runs statements, and remembers what it ran."""

    tx: Transaction
    ran: list[tuple[str, list[object]]] = field(default_factory=list)

    @property
    def dialect(self) -> Dialect:
        return self.tx.dialect

    async def fetch(self, query: Query, **params: Value) -> list[Row]:
        rendered = render(query, "postgres", "numbered")
        values = {"now": None, "gate": 1, "channel": "remit_work", **params}
        self.ran.append((rendered.text, [values[name] for name in rendered.names[0]]))
        return await self.tx.fetch(query, **params)


@dataclass
class Scans:
    """How a plan reads a table: the kinds of its nodes, and the indexes that they use."""

    kinds: set[str] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)

    def add(self, node: dict[str, Any], table: str) -> None:
        if node.get("Relation Name") == table and node["Node Type"] != "ModifyTable":
            self.kinds.add(node["Node Type"])
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
        for child in node.get("Plans", ()):
            self.add(child, table)


async def scans(session: Session, operation: Act) -> Scans:
    """Run an operation, and tell by what plan the session, with its settings and its past, ran each statement of it."""
    recorder = Recorder(session)
    await operation(recorder)
    found = Scans()
    for text, arguments in recorder.ran:
        names = await session.execute("SELECT name, statement FROM pg_prepared_statements")
        prepared = [name for name, statement in names if statement == text]
        explained = await explain(session.connection, prepared, text, arguments)
        for plan in explained:
            found.add(plan["Plan"], "job")
    return found


async def explain(connection: Any, prepared: list[str], text: str, arguments: list[object]) -> list[dict[str, Any]]:
    """The plan of a prepared statement, or of one that is planned for its parameters each time."""
    cursor = psycopg.AsyncRawCursor(connection)
    if prepared:
        values = sql.SQL(", ").join(map(sql.Literal, arguments)).as_string(connection)
        call = f'"{prepared[0]}"({values})' if arguments else f'"{prepared[0]}"'
        await cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {call}".encode())
    else:
        await cursor.execute(f"EXPLAIN (FORMAT JSON) {text}".encode(), arguments, prepare=False)
    [(explained,)] = await cursor.fetchall()
    return list(explained)


WORKER = "01a20000-0000-7000-8000-000000000001"
ALLOTMENTS = [Allotment(line, QUEUE, 50) for line in range(4)]


async def claim(tx: Transaction) -> object:
    return await execution.claim(tx, ALLOTMENTS, worker=WORKER, token=new_token())


async def heads(tx: Transaction) -> object:
    return await execution.heads(tx, [(line, QUEUE) for line in range(4)])


async def finish(tx: Transaction) -> object:
    transition = decide(Completed(), failures=0, attempts=3)
    batch = [Ended(new_id(), new_token(), 1, transition, []) for _ in range(200)]
    return await execution.finish(tx, batch, worker=WORKER, stamp=new_token())


async def promote(tx: Transaction) -> object:
    return await jobs.promote(tx, limit=1000)


async def unfinished(tx: Transaction) -> object:
    return await jobs.unfinished(tx, [new_id() for _ in range(100)])


async def held(tx: Transaction) -> object:
    return await execution.held(tx, worker=WORKER)


async def lines(tx: Transaction) -> object:
    return await jobs.lines(tx)


async def rescue(tx: Transaction) -> object:
    return await execution.rescue(tx, token=new_token(), limit=500)


async def prune(tx: Transaction) -> object:
    return await jobs.prune(tx, queue=QUEUE, age=3600.0, dead=False, limit=500)


def listed(**filters: Any) -> Act:
    anything = dict.fromkeys(["state", "domain", "queue", "names", "label", "reason", "after"])
    asked = {**anything, "deleted": False, "limit": 50}

    async def page(tx: Transaction) -> object:
        return await records.list_jobs(tx, **{**asked, **filters})  # type: ignore[arg-type]

    return page


HOT = {
    "claim": (Role.CLAIM, claim, {"job_ready", "job_suspect", "job_pkey"}),
    "heads": (Role.CLAIM, heads, {"job_ready"}),
    "finish": (Role.COMPLETE, finish, {"job_pkey"}),
}
"""Role, operation, and the indexes of `job` that it goes by."""

REGULAR = {
    "promote": (Role.LEADER, promote, {"job_scheduled", "job_pkey"}),
    "held": (Role.LEADER, held, {"job_running"}),
    "lines": (Role.LEADER, lines, {"job_ready"}),
    "rescue": (Role.LEADER, rescue, {"job_running", "job_pkey"}),
    "prune": (Role.LEADER, prune, {"job_final", "job_pkey"}),
    "unfinished": (Role.CLIENT, unfinished, {"job_pkey"}),
}

LISTS = {
    "list": (Role.CLIENT, listed(), {"job_pkey", "job_own_id"}),
    "the next page": (Role.CLIENT, listed(after="7fffffff-0000-7000-8000-000000000000"), {"job_pkey", "job_own_id"}),
    "dead letters": (Role.CLIENT, listed(state="dead"), {"job_set_aside"}),
    "dead letters of one reason": (Role.CLIENT, listed(state="dead", reason="refused"), {"job_set_aside"}),
}


@pytest.fixture(scope="module")
def tables(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """A database per state of the table; no autovacuum, so that none is analysed behind our back."""
    urls = {name: postgres_server.create_database() for name in ("empty", "full", "never analysed")}
    for name, url in urls.items():
        schema.migrate(open_store(url))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER TABLE remit.job SET (autovacuum_enabled = off)")
            connection.execute("INSERT INTO remit.worker VALUES (%s, 0, now(), now(), 'here', 1, '{}')", [WORKER])
            if name != "empty":
                connection.execute(FILL)
            if name == "full":
                connection.execute("ANALYZE remit.job")
    yield urls
    for url in urls.values():
        postgres_server.drop_database(url)


@asynccontextmanager
async def role(url: str, role: Role) -> AsyncIterator[Session]:
    """A session of that role, which is rolled back."""
    async with Desk(open_store(url), "asyncio") as desk:
        try:
            async with desk.session(role) as (_, session):
                yield session
                raise RollBack
        except RollBack:
            pass


class RollBack(Exception):
    pass


@pytest.mark.parametrize("table", ["empty", "full", "never analysed"])
@pytest.mark.parametrize("name", HOT)
async def test_claim_and_completion_go_by_their_indexes_whatever_the_table(
    tables: dict[str, str], table: str, name: str
) -> None:
    which, operation, indexes = HOT[name]
    async with role(tables[table], which) as session:
        found = await scans(session, operation)
    assert "Seq Scan" not in found.kinds
    assert {index for index in found.indexes if index.startswith("job_")} == indexes


@pytest.mark.parametrize("table", ["full", "never analysed"])
@pytest.mark.parametrize("name", REGULAR)
async def test_what_is_done_now_and_then_goes_by_its_index_where_there_is_much(
    tables: dict[str, str], table: str, name: str
) -> None:
    await settles(tables[table], *REGULAR[name])


@pytest.mark.parametrize("name", LISTS)
async def test_lists_go_by_an_index_once_the_server_knows_the_table(tables: dict[str, str], name: str) -> None:
    await settles(tables["full"], *LISTS[name])


async def settles(url: str, which: Role, operation: Act, indexes: set[str]) -> None:
    """After five times, the server may settle on one plan for all parameters."""
    async with role(url, which) as session:
        for _ in range(7):
            found = await scans(session, operation)
    assert "Seq Scan" not in found.kinds
    assert {index for index in found.indexes if index.startswith("job_")} == indexes


@pytest.mark.parametrize("name", [*HOT, *REGULAR])
async def test_a_session_that_began_on_an_empty_table_goes_by_the_index_when_it_is_full(
    tables: dict[str, str], name: str
) -> None:
    which, operation, indexes = (HOT | REGULAR)[name]
    async with role(tables["empty"], which) as session:
        for _ in range(7):
            await operation(session)
        await session.execute(FILL)
        found = await scans(session, operation)
    assert "Seq Scan" not in found.kinds
    assert {index for index in found.indexes if index.startswith("job_")} == indexes


@pytest.mark.parametrize("package", ["remit.jobs", "remit.execution", "remit.runtime", "remit.client"])
def test_no_statement_scans_the_jobs_of_a_sqlite_file(empty_sqlite: str, package: str) -> None:
    store = open_store(empty_sqlite)
    assert isinstance(store, SqliteStore)
    connection = store.connect()
    scanning = set()
    for name in statements(package, "sqlite"):
        rendered = render(Query(package, name), "sqlite", "named")
        for part, names in zip(rendered.parts, rendered.names, strict=True):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {part}", dict.fromkeys(names)).fetchall()
            if any(goes_through_all(step) for *_, step in plan):
                scanning.add(name)
    connection.close()
    assert scanning <= {"count"}, "a count of all jobs reads all"


def goes_through_all(step: str) -> bool:
    """The index of the primary key holds all jobs, too; the others hold those of one state."""
    scans = step.startswith("SCAN remit_job")
    return scans and ("INDEX" not in step or "sqlite_autoindex_remit_job_" in step)
