"""Moments on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from remit.cli.exits import UsageError
from remit.cli.moments import moment_of

NOW = datetime(2026, 1, 31, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text, age",
    [
        ("90s", timedelta(seconds=90)),
        ("5min", timedelta(minutes=5)),
        ("5m", timedelta(minutes=5)),
        ("1.5h", timedelta(minutes=90)),
        (" 7 d ", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_an_age_lies_back_from_now(text: str, age: timedelta) -> None:
    assert moment_of("--since", text, NOW) == NOW - age


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-01-31T13:00Z", NOW),
        ("2026-01-31T14:00+01:00", NOW),
        ("2026-01-31 13:00", datetime(2026, 1, 31, 13, 0).astimezone()),
        ("2026-01-31", datetime(2026, 1, 31).astimezone()),
    ],
)
def test_a_date_without_a_zone_is_where_the_reader_is(text: str, moment: datetime) -> None:
    assert moment_of("--since", text) == moment


@pytest.mark.parametrize("text", ["", "7", "7 q", "yesterday", "-7d", "2026-02-31", "9" * 20 + "w"])
def test_anything_else_is_refused_with_what_can_be_written(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .* is not a time: write an age"):
        moment_of("--since", text)


def test_nothing_is_no_moment() -> None:
    assert moment_of("--since", None) is None
