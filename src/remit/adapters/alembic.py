"""Alembic: a filter for remit's tables, so that autogenerate neither drops nor recreates them."""

from __future__ import annotations

from typing import Any

PREFIX = "remit_"
SCHEMA = "remit"


def include_name(name: str | None, type_: str, parent_names: dict[str, str | None], *, schema: str = SCHEMA) -> bool:
    """Whether autogenerate should consider this schema or table: all except remit's.

    For `context.configure(include_name=…)` in `env.py`. On SQLite the names of remit's tables begin with `remit_`; on
    PostgreSQL the tables are in a schema of their own, which Alembic reads only with `include_schemas=True`. If
    `Remit(url, schema=…)` names another schema, pass its name as `schema`, with `functools.partial`.

        context.configure(connection=connection, target_metadata=Base.metadata, include_name=include_name)
    """
    if type_ == "schema":
        return name != schema
    if type_ == "table":
        return parent_names.get("schema_name") != schema and not (name or "").startswith(PREFIX)
    return True


def include_object(object_: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """The same for `context.configure(include_object=…)`, if an application needs this hook."""
    table = object_ if type_ == "table" else getattr(object_, "table", None)
    if table is None:
        return True
    return table.schema != SCHEMA and not table.name.startswith(PREFIX)
