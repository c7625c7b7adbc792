"""Where a list of jobs goes on: one place in each of the two streams from which its pages are merged.

An id that remit makes holds its time, so the stream of those jobs has the id as its key. Ids of the caller's own hold
none; the key of their stream is (created_at, id). Each stream is paged by its own key, so that a list neither skips nor
repeats a job, whatever the clocks of the senders say. Within a page the two are merged by the time of sending.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from remit.jobs.ids import holds_time
from remit.jobs.model import JobRecord, micros

_NEWEST_ID = "02000000-0000-0000-0000-000000000000"
_LATEST = 253_402_300_799_999_999  # microseconds: the last that Python and PostgreSQL both know
_GREATEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last job that was shown of each stream."""

    id: str = _NEWEST_ID
    own_at: int = _LATEST
    own_id: str = _GREATEST_ID

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """What `text` wrote, or the id of a job, or the beginning. Raises `ValueError`."""
        if text is None:
            return cls()
        id, _, own = text.partition("~")
        at, _, own_id = own.partition(".")
        return cls(id or _NEWEST_ID, int(at), own_id) if own else cls(id)

    def text(self) -> str:
        if self.own_at == _LATEST:
            return self.id
        return f"{'' if self.id == _NEWEST_ID else self.id}~{self.own_at}.{self.own_id}"

    def page(self, jobs: Iterable[JobRecord], limit: int) -> tuple[tuple[JobRecord, ...], str | None]:
        """The newest of the jobs that both streams gave, and where to go on; None at the end."""
        timed: list[JobRecord] = []
        own: list[JobRecord] = []
        for job in jobs:
            (timed if holds_time(job.id) else own).append(job)
        timed.sort(key=lambda job: job.id)
        own.sort(key=lambda job: (job.created_at, job.id))
        full = len(timed) + len(own) >= limit
        page: list[JobRecord] = []
        id, own_at, own_id = self.id, self.own_at, self.own_id
        while len(page) < limit and (timed or own):
            if timed and (not own or timed[-1].created_at >= own[-1].created_at):
                page.append(timed.pop())
                id = page[-1].id
            else:
                page.append(own.pop())
                own_at, own_id = micros(page[-1].created_at), page[-1].id
        return tuple(page), Cursor(id, own_at, own_id).text() if full else None
