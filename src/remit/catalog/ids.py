"""Ids of jobs and events as callers write them."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

AnyId: TypeAlias = str | UUID
"""A UUID, or its text in any of the forms that `uuid.UUID` reads: upper case, braces, `urn:uuid:`, no hyphens."""


def id_text(given: object) -> str | None:
    """Return the stored text of an id, lower case with hyphens. None if it is not a UUID."""
    if isinstance(given, UUID):
        return str(given)
    if not isinstance(given, str):
        return None
    try:
        return str(UUID(given.strip()))
    except ValueError:
        return None
