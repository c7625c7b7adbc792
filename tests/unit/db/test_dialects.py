"""Every statement exists in every dialect, under the same name, in the same order, with the same parameters."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import get_args

import psycopg
import pytest

import remit
import remit.client.queries
import remit.execution.queries
import remit.jobs.queries
import remit.outbox.queries
import remit.runtime.queries
from remit import schema
from remit.db.opening import open_store
from remit.db.sqlite import SqliteStore
from remit.db.statements import Dialect, Query, parameters, render, statements
from tests.servers import PostgresServer

FEATURES: dict[str, ModuleType] = {
    "remit.jobs": remit.jobs.queries,
    "remit.client": remit.client.queries,
    "remit.execution": remit.execution.queries,
    "remit.outbox": remit.outbox.queries,
    "remit.runtime": remit.runtime.queries,
}
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
AMBIENT = {"now", "gate", "channel"}
"""What a store adds by itself, where its statements ask for it."""


def declared(module: ModuleType) -> dict[str, Query]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Query)}


every_feature = pytest.mark.parametrize("package", FEATURES)
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def test_every_folder_of_statements_belongs_to_a_feature() -> None:
    root = Path(remit.__file__).parent
    folders = {".".join(("remit", *path.parent.relative_to(root).parts)) for path in root.rglob("sql")}
    assert folders == set(FEATURES)


@every_feature
def test_a_feature_has_one_file_a_dialect(package: str) -> None:
    found = {file.name for file in files(package).joinpath("sql").iterdir()}
    assert found == {f"{dialect}.sql" for dialect in DIALECTS}


@every_feature
def test_a_query_is_declared_under_its_own_name(package: str) -> None:
    for constant, query in declared(FEATURES[package]).items():
        assert (query.package, query.name.upper()) == (package, constant)


@every_feature
@every_dialect
def test_no_statement_is_missing_or_orphaned_and_all_come_in_the_same_order(package: str, dialect: Dialect) -> None:
    assert list(statements(package, dialect)) == [query.name for query in declared(FEATURES[package]).values()]


@every_feature
def test_dialects_agree_on_parameters(package: str) -> None:
    for query in declared(FEATURES[package]).values():
        sets = {d: parameters(statements(package, d)[query.name]) - AMBIENT for d in DIALECTS}
        assert len(set(sets.values())) == 1, (query.name, sets)


@every_feature
def test_only_scripts_of_sqlite_have_several_parts(package: str) -> None:
    for query in declared(FEATURES[package]).values():
        assert len(render(query, "postgres", "numbered").parts) == 1, query.name


@every_feature
@every_dialect
def test_every_statement_ends_and_is_no_wider_than_a_screen(package: str, dialect: Dialect) -> None:
    for name, text in statements(package, dialect).items():
        assert text.endswith(";"), name
        assert all(len(line) <= 125 for line in text.splitlines()), name


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database()
    schema.migrate(open_store(url))
    return url


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('dialects') / 'remit.db'}")
    schema.migrate(store)
    assert isinstance(store, SqliteStore)
    return store.connect()


@every_feature
def test_postgres_takes_every_statement(package: str, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        for query in declared(FEATURES[package]).values():
            rendered = render(query, "postgres", "numbered")
            connection.execute(f'PREPARE "{query.name}" AS {rendered.text}'.encode())


@every_feature
def test_postgres_knows_the_type_of_every_parameter(package: str, postgres: str) -> None:
    """Each is cast, so that no driver's guess decides it."""
    for name, text in statements(package, "postgres").items():
        bare = re.findall(r"(?<![:\w]):[a-z_]+(?!::)\b(?!::)", re.sub(r"'[^']*'", "", text))
        assert bare == [], name


@every_feature
def test_sqlite_takes_every_statement(package: str, sqlite: sqlite3.Connection) -> None:
    for query in declared(FEATURES[package]).values():
        rendered = render(query, "sqlite", "named")
        for text, names in zip(rendered.parts, rendered.names, strict=True):
            made = text.startswith("CREATE TEMP TABLE")  # the next statements look at it
            sqlite.execute(text if made else f"EXPLAIN {text}", dict.fromkeys(names)).fetchall()


@every_feature
def test_the_file_can_be_loaded_in_psql(package: str, postgres: str, postgres_server: PostgresServer) -> None:
    """As it is: the parameters are variables of psql, here all NULL; what NULL cannot be is refused, no text is."""
    names = {name for text in statements(package, "postgres").values() for name in parameters(text)}
    settings = [argument for name in sorted(names) for argument in ("-v", f"{name}=NULL")]
    file = files(package).joinpath("sql/postgres.sql")
    psql = [str(postgres_server._programs / "psql"), "--no-psqlrc", "--quiet", "-f", "-", *settings, postgres]
    done = subprocess.run(psql, input=file.read_text("utf-8"), capture_output=True, text=True, timeout=30, check=True)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert [error for error in errors if not re.search("lease lost|null value", error)] == []
