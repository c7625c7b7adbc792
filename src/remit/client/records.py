"""Records of jobs as people see them. Each operation awaits nothing but its transaction (see `remit.db`)."""

from __future__ import annotations

from typing_extensions import Unpack

from remit.client import queries
from remit.db.transaction import Transaction
from remit.jobs import operations as jobs
from remit.jobs.cursor import Cursor
from remit.jobs.model import Filter, JobRecord, Page
from remit.jobs.operations import conditions


async def get(tx: Transaction, id: str) -> JobRecord | None:
    """One job with its failures and logs."""
    rows = await tx.fetch(queries.GET, id=id)
    if not rows:
        return None
    return JobRecord.from_row(rows[0], *await jobs.history(tx, id))


async def list_jobs(tx: Transaction, *, after: str | None, limit: int, **filter: Unpack[Filter]) -> Page:
    """A page of jobs, newest first. Raises `ValueError` for an `after` that no page gave."""
    cursor = Cursor.read(after)
    rows = await tx.fetch(
        queries.LIST,
        **conditions(filter),
        after=cursor.id,
        own_at=cursor.own_at,
        own_after=cursor.own_id,
        limit=limit,
    )
    found, end = cursor.page([JobRecord.from_row(row) for row in rows], limit)
    return Page(found, end)
