"""What a handler raises to end its run."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from remit.errors import InvalidArgument, RemitError
from remit.jobs.signals import LONGEST, DeadLetter, RetryAfter, Signal, Skip, Snooze

SIGNALS: list[Signal] = [Skip("gone"), RetryAfter(30), Snooze(30), DeadLetter("no account")]


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: type(signal).__name__)
def test_a_handlers_own_except_does_not_swallow_a_signal(signal: Signal) -> None:
    assert not isinstance(signal, Exception | RemitError)

    def handler() -> None:
        try:
            raise signal
        except Exception:
            raise AssertionError("swallowed") from None

    with pytest.raises(type(signal)):
        handler()


def test_signals_say_what_they_mean() -> None:
    assert [str(signal) for signal in SIGNALS] == [
        "gone",
        "asked to be retried later (after 30 s)",
        "for 30 s",
        "no account",
    ]


@pytest.mark.parametrize("seconds", [0, 0.5, 30, LONGEST, timedelta(minutes=2)])
def test_a_wait_is_seconds_or_a_timedelta(seconds: Any) -> None:
    wanted = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
    assert Snooze(seconds).seconds == RetryAfter(seconds, "busy").seconds == wanted
    assert isinstance(Snooze(seconds).seconds, float)


@pytest.mark.parametrize(
    "seconds", [-1, -0.001, math.inf, math.nan, 1e300, 10**400, True, "30", None, timedelta(-1), timedelta.max]
)
@pytest.mark.parametrize("signal", [Snooze, RetryAfter])
def test_a_wait_that_means_nothing_is_refused(signal: Callable[[Any], Signal], seconds: Any) -> None:
    with pytest.raises(InvalidArgument, match="takes a number of seconds from 0 on, or a timedelta"):
        signal(seconds)


@pytest.mark.parametrize("reason", ["", None, 7, b"no"])
@pytest.mark.parametrize("signal", [Skip, DeadLetter])
def test_a_reason_is_text(signal: Callable[[Any], Signal], reason: Any) -> None:
    with pytest.raises(InvalidArgument, match="takes a reason, as text, not"):
        signal(reason)


def test_a_retry_may_say_why() -> None:
    assert RetryAfter(1, "rate limited").reason == "rate limited"
    with pytest.raises(InvalidArgument, match="RetryAfter takes a reason"):
        RetryAfter(1, "")
