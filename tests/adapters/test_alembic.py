"""Alembic's autogenerate, with the filter of the adapter, proposes nothing about remit's tables."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, create_engine

from remit import Remit
from remit.adapters.alembic import include_name, include_object

METADATA = MetaData()
Table("invoice", METADATA, Column("id", Integer, primary_key=True))


def proposals(url: str, **options: Any) -> list[str]:
    """What autogenerate would write, as `verb table` or `verb index`."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_schemas": True, **options})
            return [
                f"{verb} {getattr(thing, 'name', thing)}" for verb, thing, *_ in compare_metadata(context, METADATA)
            ]
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "hook", [{"include_name": include_name}, {"include_object": include_object}], ids=["name", "object"]
)
def test_autogenerate_leaves_the_tables_of_remit_alone(store_url: str, hook: dict[str, Any]) -> None:
    Remit(store_url, domains=[]).sync.migrate()
    assert any("drop" in each or "remove" in each for each in proposals(store_url)), "without the filter it drops them"
    assert proposals(store_url, **hook) == ["add_table invoice"]
