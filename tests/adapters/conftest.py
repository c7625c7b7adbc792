"""An application beside SQLAlchemy: its database holds tables of the caller's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from remit import Remit
from tests.adapters.shop import Base, audit, shop
from tests.client.railway import connect


@dataclass
class Place:
    """A database with the tables of both, and what is in it."""

    url: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def application(self, **options: Any) -> Remit:
        return Remit(self.url, domains=[shop, audit], **options)

    def address(self, driver: str) -> str:
        return self.url.replace("://", f"+{driver}://", 1)

    def query(self, sql: str) -> list[Any]:
        with closing(connect(self.url)) as connection:
            rows: list[Any] = connection.execute(sql).fetchall()
        return rows

    def events(self) -> list[Any]:
        """The numbers of the published events, in order."""
        table = "remit_event" if self.is_sqlite else "remit.event"
        return [json.loads(text)["number"] for [text] in self.query(f"SELECT payload FROM {table} ORDER BY seq")]

    def jobs(self) -> int:
        table = "remit_job" if self.is_sqlite else "remit.job"
        return int(self.query(f"SELECT count(*) FROM {table}")[0][0])

    def orders(self) -> list[int]:
        return [number for [number] in self.query("SELECT id FROM orders ORDER BY id")]


def migrated(url: str) -> Place:
    place = Place(url)
    app = place.application()
    app.sync.migrate()
    app._connections.close_blocking()
    engine = sa.create_engine(place.address("pysqlite" if place.is_sqlite else "psycopg"))
    Base.metadata.create_all(engine)
    engine.dispose()
    return place


@pytest.fixture
def place(store_url: str) -> Place:
    return migrated(store_url)


@pytest.fixture
def other_place(place: Place, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Place:
    """A second database of the same engine, with everything in it."""
    if place.is_sqlite:
        return migrated(f"sqlite:///{tmp_path_factory.mktemp('other') / 'other.db'}")
    return migrated(request.getfixturevalue("postgres_server").create_database())


@pytest.fixture
def engine(place: Place) -> Iterator[sa.Engine]:
    engine = sa.create_engine(place.address("pysqlite" if place.is_sqlite else "psycopg"))
    yield engine
    engine.dispose()


@pytest.fixture(params=["aiosqlite", "asyncpg", "psycopg"])
def async_place(request: pytest.FixtureRequest) -> tuple[Place, str]:
    url = request.getfixturevalue("sqlite_url" if request.param == "aiosqlite" else "postgres_url")
    return migrated(url), request.param


@pytest.fixture
async def async_engine(async_place: tuple[Place, str]) -> AsyncIterator[AsyncEngine]:
    place, driver = async_place
    engine = create_async_engine(place.address(driver), poolclass=NullPool)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(migrated_postgres_template: str) -> str:
    """Every test here would migrate its database."""
    return migrated_postgres_template
