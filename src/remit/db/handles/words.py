"""What an adopted handle says: the refusals, and the few driver errors that remit has a word for."""

from __future__ import annotations

from collections.abc import Iterator

from remit.errors import ForeignTransaction, LeaseLost, RemitError, StoreBusy, TransactionError

ENGINES = {
    "postgres": "PostgreSQL",
    "sqlite": "SQLite",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "oracle": "Oracle",
    "mssql": "SQL Server",
}

FAILED = "this transaction has failed already, so nothing in it can be committed: roll it back"

_LEASE_LOST = "RM001"
_IN_FAILED_TRANSACTION = "25P02"
_READ_ONLY = "25006"
_NOT_IN_DATABASE_ENCODING = "22P05"
_NO_TABLE_OR_SCHEMA = frozenset({"42P01", "3F000"})


def type_name(handle: object) -> str:
    """The type of a handle, for people: `sqlite3.Connection`."""
    kind = type(handle)
    return f"{kind.__module__}.{kind.__qualname__}"


def engine_name(engine: str) -> str:
    """An engine, for people."""
    return ENGINES.get(engine, engine)


def translate(error: Exception, schema: str) -> RemitError | None:
    """remit's word for a driver's error, also inside the wrapper of SQLAlchemy or Django; None where it has none."""
    if isinstance(error, RemitError):
        return None
    for one in _chain(error):
        if isinstance(one, UnicodeEncodeError):
            return TransactionError(
                f"the client encoding of this connection ({one.encoding}) has no {one.object[one.start]!r}, so nothing "
                "was sent: SET client_encoding = 'UTF8' on it"
            )
        if word := _translate(_sqlstate(one), getattr(one, "sqlite_errorname", ""), str(one), schema):
            return word
    return None


def _translate(sqlstate: str | None, sqlite_name: str, message: str, schema: str) -> RemitError | None:
    if sqlstate == _LEASE_LOST or (sqlite_name and "remit: lease lost" in message):
        return LeaseLost(
            "this run no longer holds its job, another worker may: the database has refused the whole transaction, "
            "and nothing of it can be committed"
        )
    if sqlstate == _IN_FAILED_TRANSACTION:
        return TransactionError(FAILED)
    if sqlstate == _READ_ONLY or sqlite_name == "SQLITE_READONLY":
        return TransactionError("this transaction is read-only, so nothing can be sent in it: begin one that may write")
    if sqlstate == _NOT_IN_DATABASE_ENCODING:
        return TransactionError(f"the encoding of the database cannot hold what was sent: {message.splitlines()[0]}")
    if sqlstate in _NO_TABLE_OR_SCHEMA:
        return _without_tables(f"schema {schema!r}")
    if sqlite_name and "no such table: " in message and "remit_" in message:
        return _without_tables("remit_job and its siblings")
    if sqlite_name == "SQLITE_BUSY_SNAPSHOT":
        return StoreBusy(
            "this transaction has read before another one wrote, so it cannot write any more: roll it back, and begin "
            "it with BEGIN IMMEDIATE"
        )
    return None


def _without_tables(where: str) -> ForeignTransaction:
    return ForeignTransaction(
        f"this transaction belongs to a database without remit's tables ({where}): pass a handle on the database that "
        "holds this application's jobs, or run `remit migrate`"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was made from: SQLAlchemy and Django raise theirs from the driver's."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _sqlstate(error: BaseException) -> str | None:
    """The server's code: `sqlstate` in psycopg and asyncpg, `pgcode` in psycopg2, a field of the message in pg8000."""
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if code is None and error.args and isinstance(error.args[0], dict):
        code = error.args[0].get("C")
    return code if isinstance(code, str) else None
