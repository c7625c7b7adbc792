"""The shop's database, on SQLite and on PostgreSQL."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker


class Base(DeclarativeBase):
    """All tables of the shop; each domain has its own in its `models`."""


class Database:
    """Sessions. They block, so they are used in threads; a short transaction in one piece is what SQLite likes best."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            # One connection: requests then stand in line here, in this process. SQLite lets its waiters sleep and try
            # again, and the unlucky ones sleep long.
            plain = parsed.set(drivername="sqlite", query={})
            self.engine = create_engine(plain, pool_size=1, max_overflow=0, connect_args={"timeout": 30})
            event.listen(self.engine, "connect", _preparing(str(parsed.query.get("synchronous", "full"))))
        else:
            self.engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_size=10)
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, expire_on_commit=False)

    def sql(self, text: str) -> str:
        """A statement for `run.transaction()` with the placeholders of the driver: SQLite's `?`, or psycopg's `%s`."""
        return text if self.is_sqlite else text.replace("?", "%s")

    def close(self) -> None:
        self.engine.dispose()


def _preparing(synchronous: str) -> Callable[[Any, object], None]:
    """Set up every connection as remit does with its own; `synchronous` is its option in the URL."""

    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return prepare
