"""What a driver says becomes a word of remit's: each provoked for real."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

from devtools.daemon import free_port
from remit import schema
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.db.store import Store
from remit.db.transaction import Role, run_blocking
from remit.errors import LeaseLost, StoreBusy, StoreError, StoreUnavailable, WrongSchema
from remit.execution import operations as execution
from remit.execution.model import Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, decide

ENDED = Ended(new_id(), new_token(), 1, decide(Completed(), failures=0, attempts=3), [])


@pytest.fixture
def store(store_url: str) -> Store:
    one = open_store(store_url)
    schema.migrate(one)
    return one


def test_a_database_without_tables_says_which_command_to_run(store_url: str) -> None:
    database = open_store(store_url).blocking(Role.CLIENT)
    with pytest.raises(WrongSchema, match="run `remit migrate`"):
        database.run(jobs.store)
    database.close()


def test_a_refused_row_is_an_error_of_the_store_with_its_cause(store: Store) -> None:
    database = store.blocking(Role.CLIENT)
    identity = database.run(jobs.store)
    broken = {
        "id": new_id(), "line": 1, "version": 1, "priority": 0, "attempts": 0, "domain": "d", "queue": "d.q",
        "name": "d.j", "encoding": "json", "payload": "{}",
    }  # fmt: skip
    with pytest.raises(StoreError) as refused:
        database.run(lambda tx: jobs.enqueue(tx, [broken], store=identity))
    assert type(refused.value) is StoreError
    assert isinstance(refused.value.__cause__, sqlite3.Error | psycopg.Error)
    database.close()


def test_a_lost_lease_is_called_that_in_every_way_to_run(store: Store) -> None:
    database = store.blocking(Role.HANDLER)
    with pytest.raises(LeaseLost):
        database.run(lambda tx: execution.complete(tx, ENDED, worker=ENDED.id, stamp=new_token()))
    with pytest.raises(LeaseLost), database.session() as session:
        run_blocking(execution.complete(session, ENDED, worker=ENDED.id, stamp=new_token()))
    database.close()


def test_a_handlers_own_statement_raises_what_its_driver_raises(store: Store) -> None:
    database = store.blocking(Role.HANDLER)
    with pytest.raises((sqlite3.OperationalError, psycopg.errors.UndefinedTable)), database.session() as session:
        run_blocking(session.execute("SELECT * FROM nowhere"))
    database.close()


def test_a_server_that_is_not_there() -> None:
    store = open_store(f"postgresql://postgres@127.0.0.1:{free_port()}/shop")
    database = store.blocking(Role.CLIENT)
    with pytest.raises(StoreUnavailable):
        database.run(jobs.store)
    with pytest.raises(StoreUnavailable):
        store.schema_version()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "shop.db").mkdir()
    database = open_store(f"sqlite:///{tmp_path / 'shop.db'}").blocking(Role.CLIENT)
    with pytest.raises(StoreUnavailable, match="it is a directory; name a file in it"):
        database.run(jobs.store)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="it is not an SQLite file"):
        open_store(f"sqlite:///{tmp_path / 'shop.db'}").blocking(Role.CLIENT).run(jobs.store)


def test_a_file_that_others_write(sqlite_url: str) -> None:
    store = open_store(f"{sqlite_url}?busy_timeout=0")
    schema.migrate(store)
    assert isinstance(store, SqliteStore)
    database, other = store.blocking(Role.CLIENT), store.connect()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="another transaction writes"):
        database.run(lambda tx: jobs.pause(tx, "a.b", by=None))
    other.execute("ROLLBACK")
    database.run(lambda tx: jobs.pause(tx, "a.b", by=None))
    assert [name for name, *_ in database.run(jobs.paused)] == ["a.b"]
    other.close()
    database.close()


def test_a_transaction_does_not_wait_for_itself(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    schema.migrate(store)
    database, client = store.blocking(Role.HANDLER), store.blocking(Role.CLIENT)
    with database.session(), pytest.raises(StoreBusy, match="would wait for its own write lock"):
        client.run(lambda tx: jobs.pause(tx, "a.b", by=None))
    client.run(lambda tx: jobs.pause(tx, "a.b", by=None))
    client.close()
    database.close()


def test_every_session_says_what_it_is_for(postgres_url: str) -> None:
    store = open_store(postgres_url)
    for role in Role:
        database = store.blocking(role)
        with database.session() as session:
            [(name,)] = run_blocking(session.execute("SELECT current_setting('application_name')"))
        assert name == f"remit:{role}"
        database.close()
