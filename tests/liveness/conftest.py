"""Databases that have remit's tables."""

import pytest


@pytest.fixture(scope="session")
def postgres_template(migrated_postgres_template: str) -> str:
    """Every test here would migrate its database."""
    return migrated_postgres_template
