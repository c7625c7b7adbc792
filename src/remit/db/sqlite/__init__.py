"""SQLite through the standard library: the engine of one machine."""

from remit.db.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
