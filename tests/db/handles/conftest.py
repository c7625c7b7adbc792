"""A store with remit's tables, seen from outside, and a caller on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from remit import schema
from remit.db.postgres import PostgresStore
from remit.db.sqlite import SqliteStore
from tests.db.handles.kinds import NOW, Caller, Kind, Outside


@pytest.fixture
def postgres(postgres_url: str) -> PostgresStore:
    store = PostgresStore(postgres_url, now=NOW)
    schema.migrate(store)
    return store


@pytest.fixture
def sqlite(sqlite_url: str) -> SqliteStore:
    store = SqliteStore(sqlite_url, clock=lambda: NOW)
    schema.migrate(store)
    return store


@pytest.fixture
def outside(request: pytest.FixtureRequest) -> Iterator[Outside]:
    one = Outside(request.getfixturevalue(request.param))
    one.execute("CREATE TABLE note (text text)")
    yield one
    one.database.close()


@pytest.fixture
async def caller(request: pytest.FixtureRequest, outside: Outside) -> AsyncIterator[Caller]:
    kind: Kind = request.param
    async with kind(outside.store) as one:
        yield one
