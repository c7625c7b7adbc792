"""Senders in tight loops leave the file to other writers, and pause for nobody else."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remit import schema
from remit.db.sqlite import pacing
from remit.db.sqlite.connection import BlockingSqlite, SqliteTransaction
from remit.db.sqlite.store import SqliteStore
from remit.db.sqlite.turns import Turns
from remit.db.transaction import Role, Transaction


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore(f"sqlite:///{tmp_path / 'x.db'}")
    schema.migrate(store)
    with opened(store) as own:
        own.execute("CREATE TABLE t (a)")
    return store


@contextmanager
def opened(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """A connection of the application, which waits as SQLite does."""
    connection = sqlite3.connect(store.path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


class Sender:
    """Writes back to back from a thread of its own; each write holds the lock for 4 ms."""

    def __init__(self, store: SqliteStore) -> None:
        self.writes = 0
        self._ends = False
        self._database = store.blocking(Role.CLIENT)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while not self._ends:
            self._database.run(write)
            self.writes += 1


async def write(tx: Transaction) -> None:
    assert isinstance(tx, SqliteTransaction)
    await tx.execute("INSERT INTO t VALUES (1)")
    time.sleep(0.004)


def quick(database: BlockingSqlite) -> None:
    async def insert(tx: Transaction) -> None:
        assert isinstance(tx, SqliteTransaction)
        await tx.execute("INSERT INTO t VALUES (1)")

    database.run(insert)


@pytest.mark.parametrize("count", [1, 4])
def test_another_writer_gets_through_beside_senders_in_tight_loops(
    store: SqliteStore, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pauses it meets the free file in one of a hundred tries, which are 100 ms apart."""
    monkeypatch.setattr(pacing, "GAP_EVERY", 0.5)
    senders = [Sender(store) for _ in range(count)]
    passed = 0
    with opened(store) as other:
        for each in senders:
            each.__enter__()
        try:
            for _ in range(10):
                before = sum(each.writes for each in senders)
                other.execute("INSERT INTO t VALUES (2)")
                passed += sum(each.writes for each in senders) - before
        finally:
            for each in senders:
                each.__exit__()
    assert passed < 1000, "writes that passed ten others; without pauses they are many thousands"
    assert min(each.writes for each in senders) > 0, "no sender starves"


def test_a_sender_that_is_alone_does_not_pause(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(pacing, "SPREE", 60.0)
    database = store.blocking(Role.CLIENT)
    for _ in range(20):
        quick(database)
    database.close()
    assert pause_of(store) == 0.0


def test_a_sender_pauses_once_another_has_written(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(pacing, "SPREE", 60.0)
    database = store.blocking(Role.CLIENT)
    with opened(store) as other:
        quick(database)
        quick(database)
        other.execute("INSERT INTO t VALUES (2)")
        quick(database)
    database.close()
    assert pause_of(store) > 0.0


def test_a_sender_that_writes_now_and_then_does_not_pause(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(pacing, "SPREE", 0.0)
    database = store.blocking(Role.CLIENT)
    with opened(store) as other:
        for _ in range(3):
            quick(database)
            other.execute("INSERT INTO t VALUES (2)")
    database.close()
    assert pause_of(store) == 0.0


def test_without_write_pause_no_sender_takes_turns(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path / 'x.db'}?write_pause=0")
    schema.migrate(store)
    with opened(store) as own:
        own.execute("CREATE TABLE t (a)")
    database = store.blocking(Role.CLIENT)
    quick(database)
    database.close()
    assert not (store.sidecar / "send.lock").exists()


def pause_of(store: SqliteStore) -> float:
    """The end of the last pause, as senders leave it in their lock file; 0 if none has paused."""
    turns = Turns(store.sidecar / "send.lock")
    try:
        return turns.read()
    finally:
        turns.close()


def test_a_write_that_fails_before_it_begins_gives_its_turn_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(pacing, "SPREE", 60.0)
    own = pacing.SenderPacing(Turns(tmp_path / "send.lock"), 0.5)
    closed = sqlite3.connect(":memory:")
    with own.turn(closed):
        pass
    closed.close()
    with pytest.raises(sqlite3.ProgrammingError), own.turn(closed):
        pass
    other = Turns(tmp_path / "send.lock")
    other.take()
    assert not other.waited
    other.close()
    own.close()
