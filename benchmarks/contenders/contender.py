"""What every contender can do: the whole of what the measures know about it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple

PADDING = "x" * 76
"""Makes a payload of about 100 bytes of JSON: `{"number": 12345, "padding": "xxx…"}`."""
CHUNK = 1000
"""How many jobs are sent at once where a contender can send many."""


class Store(StrEnum):
    """A database engine that contenders share."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"


class Measure(StrEnum):
    """What can be measured."""

    ENQUEUE = "enqueue"
    BULK = "bulk"
    DRAIN = "drain"
    IDLE_LATENCY = "idle-latency"
    BUSY_LATENCY = "busy-latency"
    FOOTPRINT = "footprint"
    PUBLISH = "publish"
    FAN_OUT = "fan-out"
    EVENT_LATENCY = "event-latency"
    LOG = "log"
    RAIL_LOSS = "rail-loss"


EVENTS = frozenset({Measure.PUBLISH, Measure.FAN_OUT, Measure.EVENT_LATENCY, Measure.LOG, Measure.RAIL_LOSS})
"""What is measured of a `Publisher`; the rest, of a `Contender`."""
JOBS = frozenset(Measure) - EVENTS
SUBSCRIPTIONS = 5
"""To how many subscriptions an event goes in `fan-out`."""


class Count(NamedTuple):
    """How many there were when the store was asked: after connecting, before it answered."""

    number: int
    asked: float


def count_postgres(url: str, query: str) -> Count:
    """Ask a PostgreSQL database."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        asked = time.time()
        [number] = connection.execute(query.encode()).fetchone() or [0]
    return Count(int(number), asked)


def count_sqlite(url: str, query: str) -> Count:
    """Ask a SQLite file."""
    import sqlite3

    connection = sqlite3.connect(file_of(url))
    asked = time.time()
    [number] = connection.execute(query).fetchone()
    connection.close()
    return Count(int(number), asked)


def file_of(url: str) -> str:
    """The path in `sqlite:////path`."""
    return url.removeprefix("sqlite:///")


class Side(ABC):
    """One library on one store. The same class serves the harness (client) and the worker's process (`work`).

    `url` is where its data goes: an empty PostgreSQL database, or a SQLite file that does not exist yet.
    """

    name: ClassVar[str]
    store: ClassVar[Store]
    distribution: ClassVar[str | None] = None
    """The package whose version is told; None for what is not a package."""
    settings: ClassVar[str]
    """How it is driven, for the reader of the results."""
    measures: ClassVar[frozenset[Measure]]

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    async def prepare(self) -> None:
        """Make its tables."""

    @abstractmethod
    async def open(self) -> None:
        """Connect the client."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect the client."""

    @abstractmethod
    def work(self) -> None:
        """Run a worker until SIGTERM; in a process of its own."""


class Contender(Side):
    """One that runs jobs."""

    measures: ClassVar[frozenset[Measure]] = JOBS
    enqueue_n: ClassVar[int] = 2_000
    bulk_n: ClassVar[int] = 20_000
    drain_n: ClassVar[int] = 20_000
    """How many jobs a measure takes: enough for a few seconds."""

    @abstractmethod
    async def enqueue(self, number: int) -> None:
        """Send one job, in a transaction of its own."""

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        """Send a chunk of jobs, in the best way that its documentation knows."""
        for number in numbers:
            await self.enqueue(number)

    @abstractmethod
    def unfinished(self) -> Count:
        """How many jobs its store does not yet hold for done. Called without an open client."""


class Spent(NamedTuple):
    """What a publish cost, in seconds: the call alone, and its whole transaction."""

    call: float
    transaction: float


class Publisher(Side):
    """One that writes events, and fans them out."""

    measures: ClassVar[frozenset[Measure]] = frozenset({Measure.PUBLISH, Measure.FAN_OUT})
    ways: ClassVar[Sequence[str]]
    """The ways in which it can publish within `BEGIN; …; COMMIT` of a caller's."""
    own_ways: ClassVar[Sequence[str]]
    """The ways in which it can publish without a caller's transaction: `one` by one, `many` at once, `soon`."""
    old: ClassVar[int] = 0
    """In `log`: how many old events are in its log while it is measured."""

    @abstractmethod
    async def publish(self, way: str, number: int) -> Spent:
        """Publish one event in a transaction of the caller's, in which nothing else happens."""

    @abstractmethod
    async def publish_by_itself(self, way: str, numbers: Sequence[int]) -> None:
        """Publish events without a caller's transaction; durable when this returns."""

    @abstractmethod
    async def load(self, numbers: Sequence[int]) -> float:
        """Publish a backlog in one commit; when that was asked for."""

    @abstractmethod
    def undispatched(self) -> Count:
        """How many events have not been fanned out yet."""

    @abstractmethod
    def deliveries(self) -> Count:
        """How many deliveries there are."""

    async def ping(self, number: int) -> float:
        """Publish an event that a handler waits for; when its commit was asked for."""
        raise NotImplementedError

    def age(self, events: int) -> None:
        """Fill the log with old events."""
        raise NotImplementedError
