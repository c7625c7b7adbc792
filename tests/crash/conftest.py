"""The databases of the conformance suite."""

from tests.conformance.conftest import empty_postgres, empty_sqlite, migrated_postgres, migrated_sqlite

__all__ = ["empty_postgres", "empty_sqlite", "migrated_postgres", "migrated_sqlite"]
