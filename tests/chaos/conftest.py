"""A site on each store, with an audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.storm import ChaosSite
from tests.servers import PostgresServer


@pytest.fixture(scope="session")
def postgres_template(migrated_postgres_template: str) -> str:
    """Every storm would migrate its database."""
    return migrated_postgres_template


@pytest.fixture
def site(store_url: str, tmp_path: Path) -> Iterator[ChaosSite]:
    with ChaosSite(store_url, tmp_path / "site") as site:
        yield site


@pytest.fixture
def sqlite_site(sqlite_url: str, tmp_path: Path) -> Iterator[ChaosSite]:
    with ChaosSite(sqlite_url, tmp_path / "site") as site:
        yield site


@pytest.fixture
def own_site(own_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[ChaosSite]:
    """On a server that may be restarted."""
    with ChaosSite(own_postgres_server.create_database(), tmp_path / "site") as site:
        yield site
