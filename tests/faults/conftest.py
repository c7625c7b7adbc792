"""A site on each store: the application under fault, its ledger, and workers in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fair import Fair
from tests.faults.harness import Site
from tests.servers import PostgresServer


@pytest.fixture
def site(store_url: str, tmp_path: Path) -> Iterator[Site]:
    """The same site on each engine."""
    with Site(store_url, tmp_path / "site") as site:
        yield site


@pytest.fixture
def sqlite_site(sqlite_url: str, tmp_path: Path) -> Iterator[Site]:
    with Site(sqlite_url, tmp_path / "site") as site:
        yield site


@pytest.fixture
def postgres_site(postgres_url: str, tmp_path: Path) -> Iterator[Site]:
    with Site(postgres_url, tmp_path / "site") as site:
        yield site


@pytest.fixture
def fair(store_url: str, tmp_path: Path) -> Iterator[Fair]:
    """A site of the market, whose events the guild hears, on each engine."""
    with Fair(store_url, tmp_path / "site") as fair:
        yield fair


@pytest.fixture
def postgres_fair(postgres_url: str, tmp_path: Path) -> Iterator[Fair]:
    with Fair(postgres_url, tmp_path / "site") as fair:
        yield fair


@pytest.fixture
def own_fair(own_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Fair]:
    """On a server that may be stopped."""
    with Fair(own_postgres_server.create_database(), tmp_path / "site") as fair:
        yield fair


@pytest.fixture(scope="session")
def postgres_template(migrated_postgres_template: str) -> str:
    """Every test here would migrate its database."""
    return migrated_postgres_template
