"""The shop, on each engine, watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remit import Remit
from remit.testing import Applications, Databases
from tests.testing.shop import billing, catalogue


@pytest.fixture(scope="session")
def sqlite_databases() -> Databases:
    return Databases()


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Applications]:
    """Applications on a fresh store of each engine in turn."""
    if request.param == "sqlite":
        databases = request.getfixturevalue("sqlite_databases")
    else:
        databases = Databases(request.getfixturevalue("postgres_url"))
    with databases.fresh() as database, Applications(database) as applications:
        yield applications


@pytest.fixture
def app(make: Applications) -> Remit:
    """The shop, which nobody has opened."""
    return make(domains=[billing, catalogue])
