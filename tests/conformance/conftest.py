"""Every store in every calling style. PostgreSQL keeps one migrated database for all tests, emptied before each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit import schema
from remit.db.opening import open_store
from tests.conformance.desk import KNOWN, Desk, know
from tests.servers import PostgresServer

_EMPTY = "".join(
    f"DELETE FROM remit.{table};"
    for table in ("job", "worker", "leader", "queue", "event", "event_archive", "subscription")
)
_EMPTY += f"DELETE FROM remit.event_type WHERE (name, version) NOT IN {KNOWN};"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[tuple[str, Any]]:
    """The address of a migrated database, and a connection that nobody else uses."""
    url = postgres_server.create_database()
    schema.migrate(open_store(url))
    know(open_store(url))
    with psycopg.connect(url, autocommit=True) as connection:
        yield url, connection
    postgres_server.drop_database(url)


@pytest.fixture
def empty_postgres(migrated_postgres: tuple[str, Any]) -> str:
    """A migrated database without rows."""
    url, connection = migrated_postgres
    connection.execute(_EMPTY)
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a migrated file holds."""
    path = tmp_path_factory.mktemp("migrated") / "remit.db"
    store = open_store(f"sqlite:///{path}")
    schema.migrate(store)
    know(store)
    connection = store.connect()  # type: ignore[attr-defined]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


@pytest.fixture
def empty_sqlite(migrated_sqlite: bytes, tmp_path: Path) -> str:
    """A migrated file without rows; a power loss may take it."""
    path = tmp_path / "remit.db"
    path.write_bytes(migrated_sqlite)
    return f"sqlite:///{path}?synchronous=normal"


@pytest.fixture(params=["sqlite-asyncio", "sqlite-blocking", "postgres-asyncio", "postgres-blocking", "pooler-asyncio"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    engine, style = request.param.split("-")
    url: str = request.getfixturevalue(f"empty_{'sqlite' if engine == 'sqlite' else 'postgres'}")
    if engine == "pooler":
        url = request.getfixturevalue("pgbouncer").through(url)
    async with Desk(open_store(url, pooler=engine == "pooler"), style) as one:
        yield one


@pytest.fixture
async def postgres_desk(empty_postgres: str) -> AsyncIterator[Desk]:
    """PostgreSQL alone, on asyncio: for what is staged with its locks, or read from its plans."""
    async with Desk(open_store(empty_postgres), "asyncio") as one:
        yield one
