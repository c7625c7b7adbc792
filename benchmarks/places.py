"""An empty place for each round: a fresh PostgreSQL database on one shared server, or a fresh SQLite file."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from benchmarks.contenders.contender import Store
from devtools.postgres import PostgresServer


class Places:
    """The stores of one run. PostgreSQL is as durable as it is by default: fsync on, synchronous commits."""

    def __init__(self, stores: set[Store]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self.folder = Path(self._folder.name)
        self._names = itertools.count(1)
        self._server = PostgresServer() if Store.POSTGRES in stores else None

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self._folder.cleanup()

    @contextmanager
    def fresh(self, store: Store) -> Iterator[str]:
        """The URL of an empty place, which goes afterwards."""
        if store is Store.SQLITE:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                yield f"sqlite:///{folder}/bench.db"
            return
        assert self._server is not None
        url = self._server.create_database()
        try:
            yield url
        finally:
            self._server.drop_database(url)

    def settle(self, url: str) -> None:
        """Before a measure: statistics are known, and what was written before is on disk, for every contender alike."""
        if url.startswith("postgresql"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")

    def fsync(self) -> float:
        """Microseconds that it takes, in the median, to get 8 KiB on the disk that all stores lie on."""
        took: list[float] = []
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for place in range(200):
                begun = time.perf_counter()
                os.pwrite(file.fileno(), bytes(8192), place * 8192)
                os.fdatasync(file.fileno())
                took.append((time.perf_counter() - begun) * 1e6)
        return statistics.median(took)

    def server_processes(self, store: Store) -> list[psutil.Process]:
        if store is Store.SQLITE or self._server is None:
            return []
        postmaster = psutil.Process(self._server.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def server_version(self) -> str | None:
        if self._server is None:
            return None
        with psycopg.connect(self._server.url()) as connection:
            [version] = connection.execute("SHOW server_version").fetchone() or [None]
        return version
