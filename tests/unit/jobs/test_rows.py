"""A request becomes a row: what was said and no more, so that the store's own defaults hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from remit.catalog import Defaults, Domain, Job, exponential, line, prepare
from remit.catalog.calls import EnqueueOptions
from remit.jobs.ids import new_id
from remit.jobs.model import moment
from remit.jobs.rows import row


class Billing(Domain): ...


billing = Billing()
newest_first = billing.queue("newest-first", lifo=True)


class Sync(Job[Billing], version=3):
    n: int = 1


class Show(Job[Billing], queue=newest_first):
    n: int = 1


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def of(job: Job[Any], origin: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    spec = type(job).__remit__
    return row(prepare(spec, job, EnqueueOptions(**options), spec.policy(Defaults())), new_id(), **(origin or {}))


def test_what_was_not_said_is_left_out() -> None:
    made = of(Sync(n=7))
    assert {name: value for name, value in made.items() if name != "id"} == {
        "line": line("billing.default", "billing.sync", 3),
        "version": 3,
        "priority": 0,
        "attempts": 3,
        "domain": "billing",
        "queue": "billing.default",
        "name": "billing.sync",
        "encoding": "json",
        "payload": '{"n":7}',
    }


def test_all_that_may_be_said() -> None:
    made = of(
        Sync(),
        {"causation": "c", "correlation": "d"},
        delay=2.5,
        priority=-5,
        attempts=9,
        backoff=exponential(1.0),
        timeout=20,
        keep=60,
        label="Invoice 7",
        requested_by="Ada",
        attachment="https://example.org/7.pdf",
        expires=30,
    )
    said = {
        "delay": 2.5,
        "priority": -5,
        "attempts": 9,
        "timeout": 20.0,
        "keep": 60.0,
        "label": "Invoice 7",
        "expires": 30.0,
    }
    assert said.items() <= made.items()
    assert (made["requested_by"], made["attachment"]) == ('{"name":"Ada"}', "https://example.org/7.pdf")
    assert (made["causation"], made["correlation"]) == ("c", "d")
    assert '"kind":"exponential"' in made["backoff"]


def test_no_delay_is_said_when_there_is_none() -> None:
    assert "delay" not in of(Sync(), delay=0)


@pytest.mark.parametrize("what, column", [("at", "run_at"), ("expires", "expires_at")])
def test_an_instant_is_a_number_of_microseconds(what: str, column: str) -> None:
    assert moment(of(Sync(), **{what: NOON})[column]) == NOON


def test_the_expiry_stays_relative_to_the_time_at_which_the_job_is_due() -> None:
    made = of(Sync(), at=NOON, expires=30)
    assert (made["expires"], "expires_at" in made) == (30.0, False)


def test_the_newest_of_a_lifo_queue_comes_first() -> None:
    one, other = of(Show()), of(Show())
    assert other["lane"] <= one["lane"] < 0
