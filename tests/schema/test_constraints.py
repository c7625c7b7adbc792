"""Impossible rows are refused by the schema itself, whoever writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from remit import schema
from remit.db.opening import open_store
from remit.db.store import Store
from remit.jobs.ids import new_id
from remit.jobs.states import FINAL, State
from tests.conformance.desk import DAWN, Desk
from tests.servers import PostgresServer

REFUSALS = "check|constraint|null|foreign|unique"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        store = open_store(f"sqlite:///{tmp_path_factory.mktemp('constraints') / 'remit.db'}")
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
        await one.execute("DELETE FROM {job}")
        yield one


def columns(desk: Desk, like: str, **changes: Any) -> dict[str, Any]:
    """A row that is possible, unless the changes make it impossible."""
    moment: Any = "2027-01-15 08:00Z" if desk.store.dialect == "postgres" else DAWN
    return {
        "id": new_id(),
        "line": 1,
        "run_at": moment,
        "created_at": moment,
        "version": 1,
        "attempts": 3,
        "state": like,
        "domain": "billing",
        "queue": "billing.invoices",
        "name": "billing.sync-invoice",
        "encoding": "json",
        "payload": "{}",
        "worker": new_id() if like == "running" else None,
        "finished_at": moment if like in {str(one) for one in FINAL} else None,
    } | {name: moment if value is ... else value for name, value in changes.items()}


async def insert(desk: Desk, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    await desk.execute(f"INSERT INTO {{job}} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


@pytest.mark.parametrize("state", State)
async def test_a_possible_row_is_taken(desk: Desk, state: State) -> None:
    await insert(desk, columns(desk, state))
    assert await desk.count("job") == 1


IMPOSSIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "a state that nobody knows": ("asleep", {}),
    "completed, and not ended": ("completed", {"finished_at": None}),
    "skipped, and not ended": ("skipped", {"finished_at": None}),
    "cancelled, and not ended": ("cancelled", {"finished_at": None}),
    "dead, and not ended": ("dead", {"finished_at": None}),
    "scheduled, and ended": ("scheduled", {"finished_at": ...}),
    "ready, and ended": ("ready", {"finished_at": ...}),
    "running, and ended": ("running", {"finished_at": ...}),
    "running for nobody": ("running", {"worker": None}),
    "ready, and held by a worker": ("ready", {"worker": new_id()}),
    "scheduled, and held by a worker": ("scheduled", {"worker": new_id()}),
    "completed, and held by a worker": ("completed", {"worker": new_id()}),
    "no attempts": ("ready", {"attempts": 0}),
    "fewer than no attempts": ("ready", {"attempts": -1}),
    "no state": ("ready", {"state": None}),
    "no time": ("ready", {"run_at": None}),
    "no name": ("ready", {"name": None}),
    "no queue": ("ready", {"queue": None}),
    "no domain": ("ready", {"domain": None}),
    "no id": ("ready", {"id": None}),
    "no line": ("ready", {"line": None}),
    "no encoding": ("ready", {"encoding": None}),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
async def test_an_impossible_row_is_refused(desk: Desk, what: str) -> None:
    state, changes = IMPOSSIBLE[what]
    with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
        await insert(desk, columns(desk, state, **changes))
    assert await desk.count("job") == 0


async def test_an_id_is_given_once(desk: Desk) -> None:
    row = columns(desk, "ready")
    await insert(desk, row)
    with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
        await insert(desk, row)


@pytest.mark.parametrize("table", ["failure", "log"])
async def test_nothing_is_kept_about_a_job_that_is_not_there(desk: Desk, table: str) -> None:
    moment: Any = "2027-01-15 08:00Z" if desk.store.dialect == "postgres" else DAWN
    row = {
        "failure": {"token": 1, "attempt": 1, "failed_at": moment, "kind": "E", "message": "m"},
        "log": {"attempt": 1, "logged_at": moment, "level": 20, "message": "m"},
    }[table]
    row["job"] = new_id()
    marks = ", ".join("?" for _ in row)
    with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
        await desk.execute(f"INSERT INTO {{{table}}} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


async def test_a_store_has_one_identity(desk: Desk) -> None:
    another = "DEFAULT VALUES" if desk.store.dialect == "postgres" else "(store) VALUES ('another')"
    for attempt in (f"INSERT INTO {{meta}} {another}", "INSERT INTO {meta} (singleton, store) VALUES (NULL, ?)"):
        parameters = [new_id()] if "?" in attempt else []
        with pytest.raises(Exception, match=f"(?i){REFUSALS}"):
            await desk.execute(attempt, parameters)
    assert await desk.count("meta") == 1
