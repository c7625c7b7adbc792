"""`remit migrate`: run what is missing, or print it for a DBA."""

import sqlite3
from pathlib import Path

import psycopg
import pytest

from remit import schema
from tests.cli.harness import Command


@pytest.fixture(autouse=True)
def _application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_APP", "depot.app:make_app")


def test_migrate_brings_a_database_to_the_present(
    store_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", store_url)
    first = remit("migrate")
    assert first.status == 0
    assert "0001 jobs\n" in first.out
    assert "0002 events\n" in first.out
    assert ": 2 migrations applied, schema version 2\n" in first.out
    assert remit("migrate").out.endswith(": nothing to do, schema version 2\n")
    assert remit("migrate", "--json").json["applied"] == []


def test_migrate_enters_the_subscriptions_and_says_so(
    store_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", store_url)
    remit("migrate")
    monkeypatch.setenv("REMIT_APP", "harbour.app:make_app")
    *lines, last = remit("migrate").out.splitlines()
    names = ["customs.clear", "customs.inspect", "port.count"]
    assert sorted(lines) == [f"subscription {name} entered" for name in names]
    assert last.endswith(": 3 subscriptions entered or changed, schema version 2")
    remit("subscriptions", "retire", "port.count", "--yes")
    document = remit("migrate", "--json").json
    assert (document["applied"], document["subscriptions"]) == (
        [], [{"subscription": "port.count", "change": "changed"}],
    )  # fmt: skip
    assert remit("migrate").out.endswith(": nothing to do, schema version 2\n")


def test_a_wrong_schema_names_the_command_whole(
    postgres_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", postgres_url)
    for argv in (("jobs", "list"), ("status",), ("worker",)):
        result = remit(*argv)
        assert result.status == 4
        assert "run `remit migrate depot.app:make_app` [wrong-schema]" in result.err
        assert len(result.err.splitlines()) == 1


def test_the_printed_sql_is_what_a_dba_runs(postgres_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", postgres_url)
    sql = remit("migrate", "--sql").out
    assert sql.startswith("-- remit: postgres, from schema version 0 to 2.\nBEGIN;\n")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.encode())
    assert remit("jobs", "list").out == "no jobs\n"
    assert remit("migrate", "--sql").out == "-- Nothing to run: the schema is at version 2, this release needs 2.\n"


def test_the_printed_sql_of_sqlite_runs_too(sqlite_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", sqlite_url)
    sql = remit("migrate", "--sql").out
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    assert not file.exists()  # to print is to change nothing
    connection = sqlite3.connect(file)
    connection.executescript(sql)
    connection.close()
    assert remit("jobs", "list").out == "no jobs\n"


def test_sql_since_a_version_asks_no_database(remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert remit("migrate", "--sql", "--since", "0").out.count("CREATE TABLE remit.job ") == 1
    assert remit("migrate", "--since", "0").status == 2


def test_a_database_that_is_ahead_is_an_error(store_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", store_url)
    remit("migrate")
    monkeypatch.setattr(schema, "latest", lambda _: 0)
    result = remit("migrate")
    assert result.status == 4
    assert "upgrade remit in this process [wrong-schema]" in result.err
