"""Times and counts read as people say them; foreign texts cannot steer a terminal."""

from datetime import UTC, datetime, timedelta

import pytest

from remit.cli.wording import ago, clock, count, line, rate, span, visible


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.3, "0.3 s"),
        (0.96, "1 s"),
        (12.4, "12 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (86_400 * 4000, "4,000 d"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_moments_lie_before_or_after_now() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert ago(now - timedelta(minutes=5), now) == "5 min ago"
    assert ago(now + timedelta(hours=3), now) == "in 3 h"
    assert ago(now + timedelta(seconds=0.2), now) == "now"


def test_a_clock_time_names_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert clock(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31 13:00:00 CET"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_counts() -> None:
    assert [count(number, "job") for number in (0, 1, 1234)] == ["0 jobs", "1 job", "1,234 jobs"]


@pytest.mark.parametrize(
    "per_second, words", [(0, "0/s"), (0.083, "0.08/s"), (12.34, "12.3/s"), (12_345.6, "12,346/s")]
)
def test_rates(per_second: float, words: str) -> None:
    assert rate(per_second) == words


def test_what_would_steer_a_terminal_is_spelled_out() -> None:
    assert visible("a\x1b[31mb\x07\u202ec\ud800") == "a\\x1b[31mb\\x07\\u202ec\\ud800"
    assert line(" two\n\tlines\r\n") == "two lines"
