"""The shop, on each engine, watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remit import Remit
from remit.testing import Applications, Databases
from tests.servers import PostgresServer
from tests.testing.shop import billing, catalogue


@pytest.fixture(scope="session")
def sqlite_databases() -> Databases:
    return Databases()


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: PostgresServer) -> Iterator[Databases]:
    """All stores in one database, each in a schema of its own."""
    url = postgres_server.create_database()
    yield Databases(url)
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Applications]:
    """Applications on a fresh store of each engine in turn."""
    databases = request.getfixturevalue(f"{request.param}_databases")
    with databases.fresh() as database, Applications(database) as applications:
        yield applications


@pytest.fixture
def app(make: Applications) -> Remit:
    """The shop, which nobody has opened."""
    return make(domains=[billing, catalogue])
