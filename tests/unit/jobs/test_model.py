"""Jobs as people read them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.execution.model import Claim
from remit.jobs.model import JobRecord, micros, moment
from remit.jobs.states import State

NAMES = [field.name for field in fields(JobRecord) if field.name not in ("errors", "logs")]


def a_row(**changes: Any) -> tuple[Any, ...]:
    values: dict[str, Any] = dict.fromkeys(NAMES)
    values |= {
        "id": "01a20000-0000-7000-8000-000000000000",
        "state": "ready",
        "domain": "billing",
        "queue": "billing.invoices",
        "name": "billing.sync-invoice",
        "version": 1,
        "priority": 0,
        "failures": 0,
        "attempts": 3,
        "suspect": 0,
        "created_at": 1,
        "run_at": 2,
        "encoding": "json",
        "payload_text": '{"n":1}',
    }
    return tuple((values | changes)[name] for name in NAMES)


def a_job(**changes: Any) -> JobRecord:
    return JobRecord.from_row(a_row(**changes))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_from_its_microseconds(at: datetime) -> None:
    assert moment(micros(at)) == at


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-14, 14))  # noqa: DTZ001
def test_an_instant_is_the_same_in_every_zone(at: datetime, hours: int) -> None:
    there = at.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert micros(there) == micros(at.replace(tzinfo=UTC))


@pytest.mark.parametrize("micros", [2**63 - 1, -(2**63), micros(datetime.max.replace(tzinfo=UTC)) + 1])
def test_a_time_that_no_calendar_holds_makes_no_list_fail(micros: int) -> None:
    """A job for the end of 9999 that expires a year later can be stored."""
    job = a_job(expires_at=micros)
    assert job.expires_at is not None
    assert job.expires_at.year == (9999 if micros > 0 else 1)


def test_no_time_is_no_moment() -> None:
    assert moment(None) is None


def test_a_row_becomes_a_job() -> None:
    job = a_job(state="dead", suspect=1, claimed_at=3, finished_at=4, expires_at=5, deleted_at=6, reason="no")
    assert job.state is State.DEAD
    assert job.suspect is True
    times = [job.created_at, job.run_at, job.claimed_at, job.finished_at, job.expires_at, job.deleted_at]
    assert times == [moment(number) for number in range(1, 7)]
    assert all(at is not None and at.tzinfo is UTC for at in times)
    assert (job.owner, job.reason, job.errors, job.logs) == ("billing", "no", (), ())


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        JobRecord.from_row(a_row()[:-1])


def test_a_state_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="'asleep' is not a valid State"):
        a_job(state="asleep")


def test_a_job_is_as_it_was_read() -> None:
    with pytest.raises(FrozenInstanceError):
        a_job().label = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "state, failures, attempt",
    [
        ("scheduled", 0, 0),
        ("ready", 0, 0),
        ("running", 0, 1),
        ("completed", 0, 1),
        ("scheduled", 2, 2),
        ("ready", 2, 2),
        ("running", 2, 3),
        ("skipped", 2, 3),
        ("dead", 3, 3),
        ("cancelled", 1, 1),
    ],
)
def test_the_attempt_is_the_one_that_runs_or_ran_last(state: str, failures: int, attempt: int) -> None:
    assert a_job(state=state, failures=failures).attempt == attempt


def test_documents_are_read_when_they_are_asked_for() -> None:
    job = a_job(result_text="[1,2]", requested_by_text='{"name":"Ada"}')
    assert (job.payload, job.result, job.requested_by) == ({"n": 1}, [1, 2], {"name": "Ada"})
    job = a_job(payload_text=None)
    assert (job.payload, job.result, job.requested_by) == (None, None, None)


def test_a_payload_that_is_no_json_can_still_be_looked_at() -> None:
    job = a_job(payload_text="\x00 no JSON")
    assert job.payload_text == "\x00 no JSON"
    with pytest.raises(ValueError, match="Expecting value"):
        _ = job.payload


def test_a_claim_counts_its_attempt_from_one() -> None:
    claim = Claim("id", 1, 7, 2, 3, False, "json", "{}", None, "id", "billing.sync-invoice")
    assert claim.attempt == 3
