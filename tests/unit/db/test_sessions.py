"""Sessions of remit's own: statements by title, and what happens when they are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from remit import schema
from remit.db.opening import open_store
from remit.db.postgres.connection import BlockingTransaction
from remit.db.postgres.sessions import AwaitingSession, BlockingSession, Statement
from remit.db.store import Store
from remit.db.transaction import Role, Transaction, run_blocking
from remit.errors import StoreError
from remit.jobs import operations as jobs

PLAIN = Statement(b"plain", b"SELECT $1::text, $2::bigint, $3::boolean, $4::double precision, $5::text", tuple("abcde"))
VALUES = ["ä'\\", 2**62, True, 1e-7, None]


@pytest.fixture
async def awaiting(postgres_url: str) -> AsyncIterator[AwaitingSession]:
    async with await AwaitingSession.connect(postgres_url, autocommit=True, prepare_threshold=None) as session:
        yield session


@pytest.fixture
def blocking(postgres_url: str) -> Iterator[BlockingSession]:
    with BlockingSession.connect(postgres_url, autocommit=True, prepare_threshold=None) as session:
        yield session


@pytest.fixture
def store(postgres_url: str) -> Store:
    store = open_store(postgres_url)
    schema.migrate(store)
    return store


def prepared(session: BlockingSession) -> list[str]:
    return [name for (name,) in session.execute("SELECT name FROM pg_prepared_statements").fetchall()]


async def test_values_come_back_as_they_were(awaiting: AwaitingSession, blocking: BlockingSession) -> None:
    for _ in range(3):
        assert await awaiting.ask(PLAIN, VALUES) == [tuple(VALUES)]
        assert blocking.ask(PLAIN, VALUES) == [tuple(VALUES)]


def test_a_statement_is_prepared_once(blocking: BlockingSession) -> None:
    for _ in range(3):
        blocking.ask(PLAIN, VALUES)
    assert prepared(blocking) == ["plain"]


def test_behind_a_pooler_nothing_is_prepared(blocking: BlockingSession) -> None:
    blocking.prepares = False
    assert blocking.ask(PLAIN, VALUES) == [tuple(VALUES)]
    assert prepared(blocking) == []


def test_a_nul_is_refused_before_it_is_sent(blocking: BlockingSession) -> None:
    """libpq would silently end the text there."""
    with pytest.raises(psycopg.DataError, match="NUL"):
        blocking.ask(PLAIN, ["a\0b", *VALUES[1:]])
    assert blocking.ask(PLAIN, VALUES) == [tuple(VALUES)]


def test_an_error_names_what_the_server_said_and_leaves_the_session_usable(blocking: BlockingSession) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="bigint"):
        blocking.ask(PLAIN, ["", "four", *VALUES[2:]])
    assert blocking.ask(PLAIN, VALUES) == [tuple(VALUES)]


def test_a_statement_that_cannot_be_prepared_is_an_error_each_time(blocking: BlockingSession) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            blocking.ask(Statement(b"nowhere", b"SELECT * FROM nowhere", ()), [])


def test_what_a_handler_rolls_back_or_drops_costs_no_statement(store: Store) -> None:
    """The driver would drop all that is prepared, its own and ours."""
    database = store.blocking(Role.HANDLER)
    for _ in range(8):
        with database.session() as session:
            session.connection.execute("CREATE TEMP TABLE own (x int)")
            session.connection.execute("SAVEPOINT here")
            session.connection.execute("INSERT INTO own VALUES (1)")
            session.connection.execute("ROLLBACK TO here")
            session.connection.execute("DROP TABLE own")
            assert len(run_blocking(jobs.store(session))) == 36
    database.close()


def test_a_commit_that_fails_behind_the_rows_is_an_error(blocking: BlockingSession) -> None:
    blocking.execute("CREATE TABLE parent (id int PRIMARY KEY)")
    blocking.execute("CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    late = Statement(b"late", b"INSERT INTO child VALUES ($1::int) RETURNING id", ("id",))
    for _ in range(2):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            blocking.ask(late, [1])
    blocking.execute("INSERT INTO parent VALUES (1)")
    assert blocking.ask(late, [1]) == [(1,)]


def test_inside_a_pipeline_it_refuses_instead_of_waiting_for_ever(blocking: BlockingSession) -> None:
    with pytest.raises(psycopg.NotSupportedError, match="leave its block first"), blocking.pipeline():
        blocking.ask(PLAIN, VALUES)
    assert blocking.ask(PLAIN, VALUES) == [tuple(VALUES)]


def test_a_session_that_lost_its_statements_says_what_may_stand_between(store: Store) -> None:
    database = store.blocking(Role.CLIENT)

    async def lose(tx: Transaction) -> None:
        assert isinstance(tx, BlockingTransaction)
        await tx.execute("DEALLOCATE ALL")

    database.run(jobs.store)
    database.run(lose)
    with pytest.raises(StoreError, match="pooler=True"):
        database.run(jobs.store)
    database.close()
