"""Durations and counts are checked once, and refused with their names."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog.quantities import between, in_seconds, in_seconds_or_forever, whole
from remit.errors import InvalidArgument


@given(st.floats(0, 1e9) | st.integers(0, 10**9))
def test_seconds_are_taken_as_numbers_or_timedeltas(number: float) -> None:
    assert in_seconds("delay", number) == number
    assert in_seconds("delay", timedelta(seconds=number)) == timedelta(seconds=number).total_seconds()


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, 10**400, timedelta(seconds=-1), timedelta.max])
def test_a_duration_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^delay must be 0 seconds or more, and finite, not "):
        in_seconds("delay", value)


@pytest.mark.parametrize("value", ["3", None, True, [3]])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^delay must be a number of seconds or a timedelta, not "):
        in_seconds("delay", value)


def test_infinity_says_for_ever() -> None:
    assert in_seconds_or_forever("timeout", math.inf) is None
    assert in_seconds_or_forever("timeout", 3) == 3.0
    assert in_seconds_or_forever("age", 0, zero=True) == 0.0


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf, 10**400])
def test_a_limit_is_over_zero(value: float) -> None:
    with pytest.raises(InvalidArgument, match=r"^timeout must be over 0 seconds, or math\.inf for no limit, not "):
        in_seconds_or_forever("timeout", value)


def test_a_whole_number_has_bounds() -> None:
    assert whole("attempts", 1, 1, 3) == 1
    for wrong in (0, 4, 1.0, True, "1"):
        with pytest.raises(InvalidArgument, match=r"^attempts must be a whole number from 1 to 3, not "):
            whole("attempts", wrong, 1, 3)  # type: ignore[arg-type]


def test_a_number_has_bounds() -> None:
    assert between("jitter", 0.5, 0, 1) == 0.5
    for wrong in (-0.1, 1.1, math.nan, timedelta(seconds=0.5)):
        with pytest.raises(InvalidArgument, match=r"^jitter must be a number from 0 to 1, not "):
            between("jitter", wrong, 0, 1)  # type: ignore[arg-type]
