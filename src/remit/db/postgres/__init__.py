"""PostgreSQL through psycopg 3: the distributed engine."""

from remit.db.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
