"""Who has the last word: call, job, queue, domain, application, remit."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from remit.catalog.backoff import exponential, fixed
from remit.catalog.policies import FOREVER, Defaults, Keep, LogRetention, Outbox, Policy, Retention, Retry, resolve
from remit.errors import InvalidArgument


def test_where_nobody_said_anything_remit_decides() -> None:
    assert (
        resolve()
        == resolve(Defaults(), Defaults())
        == Policy(
            attempts=3,
            backoff=exponential(5.0),
            give_up_on=(),
            timeout=None,
            priority=0,
            keep=Retention(age=86_400.0, count=100_000, dead_age=14 * 86_400.0),
            expires=None,
            max_payload=65_536,
        )
    )


def test_the_nearest_level_that_says_something_wins() -> None:
    near, far = Defaults(priority=3, timeout=1), Defaults(priority=5, timeout=2, max_payload=100)
    policy = resolve(near, far)
    assert (policy.priority, policy.timeout, policy.max_payload) == (3, 1.0, 100)


def test_zero_is_said() -> None:
    assert resolve(Defaults(priority=0), Defaults(priority=5)).priority == 0
    assert resolve(Defaults(keep=Keep(age=0, count=0)), Defaults(keep=Keep(age=5))).keep.age == 0.0


def test_retry_and_keep_merge_field_by_field() -> None:
    job = Defaults(retry=Retry(attempts=5), keep=Keep(age=60))
    queue = Defaults(retry=Retry(attempts=9, backoff=fixed(3)), keep=Keep(count=10))
    app = Defaults(retry=Retry(give_up_on=(KeyError,)), keep=Keep(dead_age=timedelta(days=1)))
    policy = resolve(job, queue, app)
    assert (policy.attempts, policy.backoff, policy.give_up_on) == (5, fixed(3), (KeyError,))
    assert policy.keep == Retention(age=60.0, count=10, dead_age=86_400.0)


def test_infinity_lifts_a_limit_of_a_level_above() -> None:
    forever = Defaults(timeout=math.inf, expires=math.inf, keep=Keep(age=math.inf, count=math.inf, dead_age=math.inf))
    limits = Defaults(timeout=3, expires=3, keep=Keep(age=3, count=3, dead_age=3))
    policy = resolve(forever, limits)
    assert (policy.timeout, policy.expires) == (None, None)
    assert policy.keep == Retention(age=None, count=None, dead_age=None)


def test_timedeltas_become_seconds() -> None:
    policy = resolve(Defaults(timeout=timedelta(minutes=1), expires=timedelta(hours=1)))
    assert (policy.timeout, policy.expires) == (60.0, 3600.0)


def test_one_exception_class_may_stand_alone() -> None:
    assert Retry(give_up_on=KeyError).give_up_on == (KeyError,)  # type: ignore[arg-type]


def test_a_function_may_be_a_backoff() -> None:
    def backoff(attempt: int, error: BaseException) -> float:
        return 1.0

    assert resolve(Defaults(retry=Retry(backoff=backoff))).backoff is backoff


@pytest.mark.parametrize(
    "declare, arguments, reason",
    [
        (Defaults, {"retry": 5}, "retry must be Retry(…), not 5."),
        (Defaults, {"keep": 0}, "keep must be Keep(…), not 0."),
        (Retry, {"attempts": 0}, "attempts must be a whole number from 1 to 1,000,000, not 0."),
        (Retry, {"attempts": True}, "attempts must be a whole number from 1 to 1,000,000, not True."),
        (
            Retry,
            {"backoff": 3},
            "backoff must be exponential(…), fixed(…) or a function (attempt, error) -> seconds, not 3.",
        ),
        (Retry, {"give_up_on": ("KeyError",)}, "give_up_on takes exception classes, not 'KeyError'."),
        (Keep, {"age": -1}, "age must be 0 seconds or more, or math.inf for no limit, not -1."),
        (Keep, {"dead_age": math.nan}, "dead_age must be 0 seconds or more, or math.inf for no limit, not nan."),
        (Keep, {"count": -1}, f"count must be a whole number from 0 to {2**62:,}, not -1."),
        (Keep, {"count": 1.5}, f"count must be a whole number from 0 to {2**62:,}, not 1.5."),
        (Defaults, {"timeout": 0}, "timeout must be over 0 seconds, or math.inf for no limit, not 0."),
        (Defaults, {"expires": "1h"}, "expires must be a number of seconds or a timedelta, not '1h'."),
        (Defaults, {"priority": 40_000}, "priority must be a whole number from -32,768 to 32,767, not 40000."),
        (Defaults, {"max_payload": 0}, f"max_payload must be a whole number from 2 to {2**30:,}, not 0."),
    ],
)
def test_a_value_that_cannot_be_is_refused(declare: Any, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        declare(**arguments)
    assert str(refused.value) == reason


def test_an_outbox_that_says_nothing_deletes_events_after_a_week() -> None:
    assert Outbox().resolve() == LogRetention(keep=7 * 86_400.0, archive=False, archived_for=None)


def test_an_outbox_is_given_in_seconds() -> None:
    said = Outbox(keep=timedelta(days=1), then="archive", archive_for=60)
    assert said.resolve() == LogRetention(keep=86_400.0, archive=True, archived_for=60.0)
    assert Outbox(keep=0).resolve().keep == 0.0
    assert Outbox(keep=math.inf).resolve().keep == FOREVER


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"keep": -1}, "keep must be 0 seconds or more, or math.inf for no limit, not -1."),
        ({"keep": None}, "keep must be a number of seconds or a timedelta, not None."),
        ({"archive_for": "1y"}, "archive_for must be a number of seconds or a timedelta, not '1y'."),
        ({"then": "archived"}, "then must be 'delete' or 'archive', not 'archived'."),
    ],
)
def test_an_outbox_that_cannot_be_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Outbox(**options)
    assert str(refused.value) == reason
