"""The fixtures for pytest: a fresh store per test, and applications on it.

`remit_database` is a migrated store for one test, `remit_app` makes applications on it, `remit_apps` does so for
fixtures that are wider than a test. All are plain fixtures: they work in blocking tests, and in those of pytest-asyncio
and anyio. By default the store is a SQLite file in memory. `--remit-database`, the environment variable
`REMIT_TEST_DATABASE_URL` or the ini option `remit_database`, the first of them that is set, name a PostgreSQL database
instead, in which every test gets a schema of its own.

This module is imported in every run of pytest, so it imports nothing of remit before a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from remit.testing.applications import Applications
    from remit.testing.databases import Databases, FreshDatabase

pytest.register_assert_rewrite("remit.testing.contract")  # its assertions show as much as those of any test

VARIABLE = "REMIT_TEST_DATABASE_URL"
_MARKER = "remit_database"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option."""
    about = "the URL of the database for remit's stores (default: sqlite://, in memory)"
    parser.getgroup("remit").addoption("--remit-database", metavar="URL", help=about)
    parser.addini("remit_database", f"{about}; --remit-database and {VARIABLE} come first")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        'remit_database(engine): this test needs its store on "sqlite" or on "postgresql"; it is skipped if no URL '
        "of such a database is configured",
    )


@pytest.fixture(scope="session")
def _remit_databases(pytestconfig: pytest.Config) -> dict[str, Databases]:
    """The stores by engine; the configured one first."""
    from remit.testing.databases import Databases

    url = str(
        pytestconfig.getoption("--remit-database")
        or os.environ.get(VARIABLE)
        or pytestconfig.getini("remit_database")
        or "sqlite://"
    )
    configured = Databases(url)
    if url.startswith("sqlite"):
        return {"sqlite": configured}
    return {"postgresql": configured, "sqlite": Databases()}


@pytest.fixture
def remit_database(request: pytest.FixtureRequest, _remit_databases: dict[str, Databases]) -> Iterator[FreshDatabase]:
    """A migrated store for one test, removed afterwards: `remit_database.url`, `remit_database.schema`."""
    marker = request.node.get_closest_marker(_MARKER)
    with _chosen(_remit_databases, marker.args[0] if marker else None, _MARKER).fresh() as database:
        yield database


def _chosen(databases: dict[str, Databases], engine: str | None, taker: str) -> Databases:
    if engine is None:
        return next(iter(databases.values()))
    if engine not in ("sqlite", "postgresql"):
        raise pytest.UsageError(f'{taker} takes "sqlite" or "postgresql", not {engine!r}')
    if engine not in databases:
        pytest.skip(f"no PostgreSQL for remit's stores: pass --remit-database, or set {VARIABLE}")
    return databases[engine]


@pytest.fixture
def remit_app(remit_database: FreshDatabase) -> Iterator[Applications]:
    """Makes applications on this test's store: `remit_app(app)` a copy of yours, or `remit_app(domains=[…], …)`.

    They are watched: `published`, `enqueued` and `nothing_sent` refer to them. At the end they are closed, and their
    domains are bound to their previous application again.
    """
    from remit.testing.applications import Applications

    with Applications(remit_database) as make:
        yield make


@pytest.fixture(scope="session")
def remit_apps(_remit_databases: dict[str, Databases]) -> Callable[..., AbstractContextManager[Applications]]:
    """Makes a factory like `remit_app` for your own fixtures that are wider than a test, on a store for all its tests.

    `remit_apps()` is a context manager; `remit_apps("postgresql")` and `remit_apps("sqlite")` name the engine.

        @pytest.fixture(scope="module")
        def app(remit_apps):
            with remit_apps() as make:
                yield make(shop.app)
    """
    from remit.testing.applications import Applications

    @contextmanager
    def fresh(engine: str | None = None) -> Iterator[Applications]:
        with _chosen(_remit_databases, engine, "remit_apps").fresh() as database, Applications(database) as make:
            yield make

    return fresh
