"""Migrations: all or nothing, once, by whoever comes first; and the script for a DBA is the same thing."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from remit import schema
from remit.client import records
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.db.statements import Dialect
from remit.db.store import Store
from remit.db.transaction import Role
from remit.errors import StoreError, StoreUnavailable, WrongSchema
from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.schema import Migration
from tests.conformance.desk import TABLES, Desk
from tests.servers import PgBouncer, PostgresServer

SQLITE_MASTER = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"


def connection_of(store: Store) -> sqlite3.Connection:
    assert isinstance(store, SqliteStore)
    return store.connect()


def dump(server: PostgresServer, url: str) -> str:
    """The whole schema of a database, as `pg_dump` writes it."""
    program = str(server._programs / "pg_dump")
    done = subprocess.run([program, "--schema-only", url], capture_output=True, text=True, check=True, timeout=30)
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_the_history_is_numbered_from_one_without_gaps(dialect: Dialect) -> None:
    steps = schema.history(dialect)
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert schema.latest(dialect) == len(steps)


def test_every_engine_has_the_same_history() -> None:
    histories = [[(step.version, step.name) for step in schema.history(dialect)] for dialect in get_args(Dialect)]
    assert len({tuple(history) for history in histories}) == 1


def test_an_empty_store_is_brought_to_the_present(store_url: str) -> None:
    store = open_store(store_url)
    assert store.schema_version() is None
    assert [step.version for step in schema.migrate(store)] == [step.version for step in schema.history(store.dialect)]
    assert store.schema_version() == schema.latest(store.dialect)
    schema.check(store)


def test_a_second_migration_has_nothing_to_do(store_url: str) -> None:
    store = open_store(store_url)
    schema.migrate(store)
    database = store.blocking(Role.CLIENT)
    identity = database.run(jobs.store)
    assert schema.migrate(store) == []
    assert database.run(jobs.store) == identity
    database.close()


def test_threads_may_migrate_at_once(store_url: str) -> None:
    applied: list[list[Migration]] = []
    start = threading.Barrier(6)

    def run() -> None:
        store = open_store(store_url)
        start.wait()
        applied.append(schema.migrate(store))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, 0, 0, len(schema.history(open_store(store_url).dialect))]


def test_processes_may_migrate_at_once(store_url: str) -> None:
    """They wait for one another to be ready, on their standard input."""
    code = (
        "import sys; from remit import schema; from remit.db.opening import open_store\n"
        f"store = open_store({store_url!r}); print('ready', flush=True); sys.stdin.readline()\n"
        "print(len(schema.migrate(store)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(answers) == ["0", "0", "0", str(len(schema.history(open_store(store_url).dialect)))]


def test_a_migration_that_fails_leaves_nothing_behind(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(store_url)
    broken = (*schema.history(store.dialect), Migration(99, "broken", "CREATE TABLE halfway (n integer);\nNONSENSE;"))
    monkeypatch.setattr(schema, "history", lambda dialect: broken)
    with pytest.raises(StoreError):
        schema.migrate(store)
    assert store.schema_version() is None
    monkeypatch.undo()
    schema.migrate(store)
    schema.check(store)


def test_only_what_is_missing_is_applied(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(store_url)
    schema.migrate(store)
    prefix = "remit." if store.dialect == "postgres" else "remit_"
    more = Migration(schema.latest(store.dialect) + 1, "more", f"CREATE TABLE {prefix}more (n integer);")
    later = (*schema.history(store.dialect), more)
    monkeypatch.setattr(schema, "history", lambda dialect: later)
    assert schema.migrate(store) == [more]
    assert store.schema_version() == more.version


# --- the script


def test_the_script_makes_a_server_what_migrate_makes_it(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    store = open_store(postgres_url)
    schema.migrate(store)
    by_hand = postgres_server.create_database()
    script = tmp_path / "remit.sql"
    script.write_text(schema.script(store))
    psql = [str(postgres_server._programs / "psql"), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f", str(script), by_hand]
    subprocess.run(psql, check=True, capture_output=True, timeout=30)
    assert dump(postgres_server, by_hand) == dump(postgres_server, postgres_url)
    other = open_store(by_hand)
    assert other.schema_version() == store.schema_version()
    schema.check(other)
    assert schema.migrate(other) == []
    postgres_server.drop_database(by_hand)


def test_the_script_makes_a_file_what_migrate_makes_it(sqlite_url: str, tmp_path: Path) -> None:
    store = open_store(sqlite_url)
    schema.migrate(store)
    connection = connection_of(store)
    by_hand = sqlite3.connect(tmp_path / "by-hand.db")
    by_hand.executescript(schema.script(store))
    assert by_hand.execute(SQLITE_MASTER).fetchall() == connection.execute(SQLITE_MASTER).fetchall()
    other = open_store(f"sqlite:///{tmp_path / 'by-hand.db'}")
    assert other.schema_version() == store.schema_version()
    assert schema.migrate(other) == []
    by_hand.close()
    connection.close()


def test_a_script_for_a_store_at_the_present_changes_nothing(store_url: str) -> None:
    store = open_store(store_url)
    text = schema.script(store, since=schema.latest(store.dialect))
    assert "CREATE TABLE" not in text
    assert "INSERT" not in text


def test_a_script_is_one_transaction(store_url: str) -> None:
    text = schema.script(open_store(store_url))
    assert text.startswith("BEGIN;\n")
    assert text.rstrip().endswith("\nCOMMIT;")
    assert text.count("COMMIT;") == 1


# --- versions


def test_a_store_ahead_of_this_release_is_refused_and_left_alone(store_url: str) -> None:
    store = open_store(store_url)
    schema.migrate(store)
    ahead = schema.latest(store.dialect) + 7
    store.migrate(lambda target: target.set_version(ahead))
    with pytest.raises(WrongSchema, match=rf"has schema version {ahead}, this release of remit knows \d+: upgrade"):
        schema.check(store)
    assert schema.migrate(store) == []
    assert store.schema_version() == ahead


def test_a_server_is_migrated_by_a_person(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with pytest.raises(WrongSchema, match="has no tables of remit: run `remit migrate`"):
        schema.check(store)
    assert store.schema_version() is None


def test_a_server_behind_this_release_says_so(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(postgres_url)
    schema.migrate(store)
    monkeypatch.setattr(schema, "latest", lambda dialect: 99)
    with pytest.raises(WrongSchema, match=r"has schema version 2, this release needs 99: run `remit migrate`"):
        schema.check(store)


def test_a_file_is_migrated_without_asking(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    schema.check(store)
    assert store.schema_version() == schema.latest("sqlite")


def test_a_folder_that_is_not_there_yet_is_made_by_who_migrates_alone(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'data' / 'deep' / 'remit.db'}")
    with pytest.raises(StoreUnavailable, match="deep does not exist, or cannot be reached; create it, or correct the"):
        schema.check(store)
    assert list(tmp_path.iterdir()) == []
    schema.migrate(store)
    assert store.schema_version() == schema.latest("sqlite")


def test_two_files_are_two_stores(tmp_path: Path) -> None:
    identities = set()
    for name in ("one.db", "other.db"):
        store = open_store(f"sqlite:///{tmp_path / name}")
        schema.migrate(store)
        database = store.blocking(Role.CLIENT)
        identities.add(database.run(jobs.store))
        database.close()
    assert len(identities) == 2


# --- where its objects are

OBJECTS = """
    SELECT namespace.nspname, class.relname FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    UNION ALL
    SELECT namespace.nspname, proname FROM pg_proc JOIN pg_namespace AS namespace ON namespace.oid = pronamespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL
    SELECT namespace.nspname, typname FROM pg_type JOIN pg_namespace AS namespace ON namespace.oid = typnamespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


def objects(url: str) -> set[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return {(schema, name) for schema, name in connection.execute(OBJECTS)}


@pytest.mark.parametrize("name", ["remit", "work", "remit_of_the_shop"])
def test_nothing_lies_outside_the_schema(postgres_url: str, name: str) -> None:
    before = objects(postgres_url)
    schema.migrate(open_store(postgres_url, schema=name))
    made = objects(postgres_url) - before
    assert {schema for schema, _ in made} == {name}
    assert {"job", "worker", "leader", "queue", "failure", "log", "meta", "migration"} <= {table for _, table in made}


async def test_two_schemas_of_one_database_are_two_stores(postgres_url: str) -> None:
    stores = [open_store(postgres_url, schema=name) for name in ("remit", "work")]
    for store in stores:
        schema.migrate(store)
    async with Desk(stores[0], "asyncio") as one, Desk(stores[1], "asyncio") as other:
        assert await one.identity() != await other.identity()
        worker = await other.register()
        claim = await other.running(worker)
        assert await one.claim(await one.register()) == []
        assert await one(records.get, claim.id, atomic=True) is None
        assert await other(execution.held, worker=worker) != []


def test_nothing_of_a_file_is_called_otherwise(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    schema.migrate(store)
    connection = connection_of(store)
    names = {name for _, name, *_ in connection.execute(SQLITE_MASTER) if not name.startswith("sqlite_")}
    assert {name for name in names if not name.startswith("remit_")} == set()
    connection.close()


def test_a_server_is_migrated_through_its_pooler(postgres_url: str, pgbouncer: PgBouncer) -> None:
    store = open_store(pgbouncer.through(postgres_url), pooler=True)
    assert schema.migrate(store) != []
    schema.check(store)


def test_the_tables_of_both_engines_have_the_same_columns(postgres_url: str, sqlite_url: str) -> None:
    postgres, sqlite = open_store(postgres_url), open_store(sqlite_url)
    schema.migrate(postgres)
    schema.migrate(sqlite)
    with psycopg.connect(postgres_url) as connection:
        rows: list[Any] = connection.execute(
            "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position)"
            " FROM information_schema.columns WHERE table_schema = 'remit' GROUP BY table_name"
        ).fetchall()
    found = dict(rows)
    file = connection_of(sqlite)
    for table in TABLES:
        names = [name for (name,) in file.execute(f"SELECT name FROM pragma_table_info('remit_{table}')")]
        assert set(names) == set(found[table]), table
    file.close()
