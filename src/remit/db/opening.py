"""From a URL to a store. Nothing is imported before it is used."""

from __future__ import annotations

import re

from remit.db.store import Store
from remit.errors import ConfigurationError, MissingExtra, nearest

_KEYS_AND_VALUES = re.compile(r"\s*\w+\s*=")
_SCHEMES = ("sqlite", "postgresql", "postgres")


def open_store(url: str, *, schema: str = "remit", pooler: bool = False, now: int | None = None) -> Store:
    """Describe the store behind a URL; no connection is made yet.

    `sqlite:///file.db` or `postgresql://…`; a driver named in the scheme (`postgresql+psycopg://`) is ignored. `now`
    stops the clock for tests, in microseconds. Raises `ConfigurationError` and `MissingExtra`.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if "://" not in url and _KEYS_AND_VALUES.match(url):
        raise ConfigurationError(
            "the database is given as keys and values, and remit takes a URL: postgresql://user@host:5432/database, "
            "with any other key behind a `?`, as in postgresql:///database?host=/run/postgresql"
        )
    if "://" not in url or scheme not in _SCHEMES:
        hint = " The `://` is missing." if scheme in _SCHEMES else nearest(scheme, _SCHEMES)
        if hint and "://" in url:
            hint = f" The scheme {scheme!r} is unknown.{hint}"
        named = url.partition("?")[0].rpartition("@")[2]
        raise ConfigurationError(
            f"{named!r} is no database URL that remit knows: use sqlite:///file.db or "
            f"postgresql://user@host/database.{hint}"
        )
    if scheme == "sqlite":
        from remit.db.sqlite import SqliteStore

        return SqliteStore(url) if now is None else SqliteStore(url, clock=lambda: now)
    try:
        from remit.db.postgres import PostgresStore
    except ImportError as error:
        raise MissingExtra("PostgreSQL needs psycopg: pip install 'remit[postgres]'") from error
    return PostgresStore(url, schema=schema, pooler=pooler, now=now)
