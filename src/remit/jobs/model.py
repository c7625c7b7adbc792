"""A job as the database holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, overload

from remit.catalog.policies import FOREVER
from remit.db.transaction import Row
from remit.jobs.states import State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def moment(micros: int) -> datetime: ...
@overload
def moment(micros: None) -> None: ...
@overload
def moment(micros: int | None) -> datetime | None: ...
def moment(micros: int | None) -> datetime | None:
    """A time as the store counts it, for people; one beyond the year 9999 is the last that Python knows."""
    if micros is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if micros > 0 else datetime.min.replace(tzinfo=UTC)


def micros(at: datetime) -> int:
    """A time for the store; it must know its zone."""
    return (at - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """One failed attempt."""

    attempt: int
    at: datetime
    worker: str | None
    kind: str
    message: str
    traceback: str | None


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line that a handler wrote with `run.log`. `level` is a number of the `logging` module."""

    attempt: int
    at: datetime
    level: int
    message: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stood when it was read. Times are aware, in UTC; `errors` and `logs` are filled by `get` alone.

    - `failures` of its `attempts` are used up. `suspect`: it was running when its worker died.
    - `timeout`: the seconds that a run may take, where the call said so; `math.inf` for no limit.
    - `created_at` is when it was sent, `run_at` when it is due or became ready, `claimed_at` when it was last claimed,
      `finished_at` when it ended. `expires_at`: it does not start after that.
    - `cancel_requested_at` and `cancelled_by`: it was cancelled, or asked to stop. `deleted_at`: lists hide it.
    - `worker` is who holds it while it runs. `reason` is why it was skipped, cancelled or is dead.
    - `causation` is the job whose run sent this one, `correlation` the first of the chain; None where a caller sent it.
      `event` is the event that a delivery is about, and then also its causation.
    - `last_error` is the kind and message of the last failed attempt, while any failed.
    - `payload_text`, `result_text` and `requested_by_text` are what is stored; the properties without `_text` read it.
    """

    id: str
    state: State
    domain: str
    queue: str
    name: str
    version: int
    priority: int
    failures: int
    attempts: int
    suspect: bool
    timeout: float | None
    created_at: datetime
    run_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    cancel_requested_at: datetime | None
    cancelled_by: str | None
    deleted_at: datetime | None
    worker: str | None
    encoding: str
    payload_text: str | None
    result_text: str | None
    reason: str | None
    label: str | None
    requested_by_text: str | None
    attachment: str | None
    correlation: str | None
    causation: str | None
    event: str | None
    last_error: str | None = None
    errors: tuple[FailureRecord, ...] = ()
    logs: tuple[LogRecord, ...] = field(default=(), repr=False)

    @property
    def attempt(self) -> int:
        """The number of the attempt that runs or ran last, from 1; 0 before the first."""
        unfailed = self.state in (State.RUNNING, State.COMPLETED, State.SKIPPED)
        return self.failures + 1 if unfailed else self.failures

    @property
    def owner(self) -> str:
        """The domain that owns it."""
        return self.domain

    @property
    def payload(self) -> Any:
        """The payload as plain values; `payload_text` is byte for byte what was sent, also when it is not JSON."""
        return None if self.payload_text is None else json.loads(self.payload_text)

    @property
    def result(self) -> Any:
        """What the handler returned."""
        return None if self.result_text is None else json.loads(self.result_text)

    @property
    def requested_by(self) -> Any:
        """Who asked for it: a mapping of any of name, role and email; None where nobody said."""
        return None if self.requested_by_text is None else json.loads(self.requested_by_text)

    @classmethod
    def from_row(cls, row: Row, errors: Sequence[FailureRecord] = (), logs: Sequence[LogRecord] = ()) -> JobRecord:
        """Read a row of the statements `get` and `list`."""
        values = dict(zip(_COLUMNS, row, strict=True))
        values["state"] = State(values["state"])
        values["suspect"] = bool(values["suspect"])
        if values["timeout"] is not None and values["timeout"] >= FOREVER:
            values["timeout"] = math.inf
        for name in _MOMENTS:
            values[name] = moment(values[name])
        return cls(**values, errors=tuple(errors), logs=tuple(logs))


_COLUMNS = [field.name for field in fields(JobRecord)][:-2]
"""In the order in which the statements `get` and `list` give them."""
_MOMENTS = [name for name in _COLUMNS if name.endswith("_at")]


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first; pass `after` on to get the next page, until it is None.

    `after` is opaque: the id of a job, or a longer text once a page has held a job under an id of the caller's own.
    """

    jobs: tuple[JobRecord, ...]
    after: str | None


class Filter(TypedDict, total=False):
    """Which jobs a statement is about; a condition that is missing, or None, holds for every job.

    `names` is the JSON text of the names that a job may have; `reason` is a part of the reason; `requested_by` one of
    the requester's parts; `scope` the JSON text of an object whose keys and values a job's scope must have; `since`,
    `until` and `ended_before` are microseconds; `failing` means jobs that have not ended and of which an attempt
    failed; `deleted` includes what was deleted.
    """

    state: str | None
    domain: str | None
    queue: str | None
    names: str | None
    label: str | None
    reason: str | None
    requested_by: str | None
    correlation: str | None
    scope: str | None
    since: int | None
    until: int | None
    ended_before: int | None
    failing: bool
    deleted: bool
