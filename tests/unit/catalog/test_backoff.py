"""Backoff is arithmetic: bounded, monotone without jitter, safe for any number of failures."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog.backoff import DeclaredBackoff, Exponential, Fixed, exponential, fixed, parse_backoff, retry_delay
from remit.errors import InvalidArgument

durations = st.floats(0, 1e6)
exponentials = st.builds(exponential, durations, factor=st.floats(1, 1000), cap=durations, jitter=st.floats(0, 1))
backoffs = exponentials | st.builds(fixed, durations, jitter=st.floats(0, 1))
failures = st.integers(1, 50) | st.integers(1, 10**400)
chances = st.floats(0, 1, exclude_max=True)


@given(exponentials, failures, chances)
def test_a_delay_is_never_negative_and_never_over_the_cap(backoff: Exponential, count: int, chance: float) -> None:
    assert 0 <= backoff.delay(count, chance) <= backoff.cap


@given(exponentials, failures, failures)
def test_without_chance_delays_never_fall(backoff: Exponential, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert backoff.delay(fewer, 0.0) <= backoff.delay(more, 0.0)


@given(backoffs, failures, chances)
def test_jitter_takes_away_its_share_at_most(backoff: DeclaredBackoff, count: int, chance: float) -> None:
    full = backoff.delay(count, 0.0)
    assert full * (1 - backoff.jitter) * (1 - 1e-9) <= backoff.delay(count, chance) <= full


@given(exponentials)
def test_many_failures_reach_the_cap(backoff: Exponential) -> None:
    reaches = backoff.base > 0 and backoff.factor > 1.01
    if reaches:
        assert backoff.delay(10**9, 0.0) == backoff.cap


def test_the_default_doubles_from_five_seconds_to_six_hours() -> None:
    backoff = exponential()
    assert [backoff.delay(count, 0.0) for count in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert backoff.delay(13, 0.0) == 20_480
    assert backoff.delay(14, 0.0) == 6 * 3600


def test_fifteen_attempts_of_the_default_span_seventeen_hours() -> None:
    assert sum(exponential().delay(count, 0.0) for count in range(1, 15)) == pytest.approx(17.4 * 3600, rel=0.01)


def test_a_whole_factor_is_no_slower_than_any() -> None:
    assert exponential(1, factor=2).delay(10**300, 0.0) == 6 * 3600


@given(backoffs)
def test_a_declared_backoff_survives_its_row(backoff: DeclaredBackoff) -> None:
    assert parse_backoff(backoff.dump()) == backoff


def test_the_stored_form_is_compact_and_stable() -> None:
    assert exponential(timedelta(seconds=5), cap=60, jitter=0).dump() == (
        '{"kind":"exponential","base":5.0,"factor":2.0,"cap":60.0,"jitter":0}'
    )
    assert fixed(3).dump() == '{"kind":"fixed","wait":3.0,"jitter":0.0}'


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind":"linear"}', '{"kind":"fixed"}', '{"kind":"fixed","wait":-1}', '{"kind":[]}', "3"]
)
def test_what_remit_did_not_write_is_no_backoff(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a backoff that remit wrote"):
        parse_backoff(text)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"base_seconds": -1}, "base_seconds must be 0 seconds or more"),
        ({"cap": math.nan}, "cap must be 0 seconds or more"),
        ({"cap": math.inf}, "cap must be 0 seconds or more, and finite"),
        ({"factor": 0.5}, "factor must be a number from 1 to 1000"),
        ({"jitter": 1.5}, "jitter must be a number from 0 to 1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        exponential(**arguments)


def test_fixed_checks_its_numbers() -> None:
    with pytest.raises(InvalidArgument, match="seconds must be 0 seconds or more"):
        fixed(-3)
    with pytest.raises(InvalidArgument, match="jitter must be a number from 0 to 1"):
        fixed(3, jitter=-1)


def test_a_function_decides_by_attempt_and_error() -> None:
    def backoff(attempt: int, error: BaseException) -> timedelta:
        return timedelta(seconds=attempt * len(str(error)))

    assert retry_delay(backoff, 3, ValueError("four"), random=0.9) == 12.0
    assert retry_delay(fixed(7), 3, ValueError(), random=0.9) == 7.0


def test_a_function_that_answers_nonsense_is_named() -> None:
    with pytest.raises(InvalidArgument, match="The result of the backoff function must be 0 seconds or more"):
        retry_delay(lambda attempt, error: -1.0, 1, ValueError(), random=0.0)


def test_declared_backoffs_are_values() -> None:
    assert exponential(5) == Exponential(5.0, 2.0, 21_600.0, 0.2)
    assert fixed(3) == Fixed(3.0)
    assert hash(fixed(3)) == hash(fixed(3))
