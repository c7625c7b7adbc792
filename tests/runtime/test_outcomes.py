"""What an exception says about the end of its run: alone, in groups, and in groups of groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from remit import Cancelled, DeadLetter, Retry, RetryAfter, Skip, Snooze, fixed
from remit.catalog.policies import Defaults, resolve
from remit.jobs.states import Failed, GaveUp, Outcome, Skipped, Snoozed, Stopped
from remit.runtime.handlers.outcomes import Raised, RemoteError, ending, outcome_of
from remit.telemetry import Telemetry


class Refused(Exception):
    """What no retry cures."""


class RefusedForGood(Refused):
    pass


POLICY = resolve(Defaults(retry=Retry(attempts=5, backoff=fixed(7.0), give_up_on=(Refused,))))


def outcome(error: BaseException, policy: object = POLICY) -> Outcome:
    given = POLICY if policy is POLICY else policy
    return outcome_of(
        error, name="bank.post", policy=given, failures=0, backoff=None, telemetry=Telemetry()  # type: ignore[arg-type]
    )  # fmt: skip


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("unhandled errors in a TaskGroup", errors)


def kind(found: Outcome) -> object:
    """The outcome in short: what a table can hold."""
    match found:
        case Failed(failure, seconds):
            return "failed", failure.kind.rpartition(".")[2], seconds
        case GaveUp(reason, failure):
            return "dead", reason, failure is not None
        case Skipped(reason) | Stopped(reason):
            return type(found).__name__.lower(), reason
        case Snoozed(seconds):
            return "snoozed", seconds
        case _:
            raise AssertionError(found)


ONE_KIND: list[tuple[Sequence[BaseException], object]] = [
    ([Skip("gone")], ("skipped", "gone")),
    ([Skip("gone"), Skip("paid"), Skip("gone")], ("skipped", "gone; paid")),
    ([Snooze(3), Snooze(30), Snooze(10)], ("snoozed", 30.0)),
    ([Cancelled("half"), Cancelled("a third")], ("stopped", "half; a third")),
    ([DeadLetter("no"), DeadLetter("never")], ("dead", "no; never", False)),
    ([RetryAfter(3, "busy"), RetryAfter(30, "busy")], ("failed", "RetryAfter", 30.0)),
    ([Refused("no")], ("dead", "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception); Refused: no", True)),
]
MIXED: list[tuple[Sequence[BaseException], object]] = [
    ([DeadLetter("no"), ValueError(), RetryAfter(3)], ("dead", "no", True)),
    ([DeadLetter("no"), Skip("gone")], ("dead", "no", False)),
    ([ValueError("a"), KeyError("b")], ("failed", "ExceptionGroup", 7.0)),
    ([ValueError(), Skip("gone"), Snooze(3), Cancelled("half")], ("failed", "BaseExceptionGroup", 7.0)),
    ([ValueError(), RetryAfter(30), RetryAfter(3)], ("failed", "BaseExceptionGroup", 30.0)),
    ([RetryAfter(3, "busy"), Skip("gone"), Snooze(50)], ("failed", "RetryAfter", 3.0)),
    ([Cancelled("half"), Snooze(3), Skip("gone")], ("stopped", "half")),
    ([Snooze(3), Skip("gone")], ("snoozed", 3.0)),
    ([Skip("gone"), asyncio.CancelledError()], ("skipped", "gone")),
    ([asyncio.CancelledError(), asyncio.CancelledError()], ("failed", "BaseExceptionGroup", 7.0)),
    ([SystemExit(3), Skip("gone")], ("failed", "BaseExceptionGroup", 7.0)),
]


@pytest.mark.parametrize("errors, expected", ONE_KIND)
def test_a_group_of_one_kind_of_outcome_is_that_outcome(errors: Sequence[BaseException], expected: object) -> None:
    assert kind(outcome(group(*errors))) == expected
    assert kind(outcome(group(group(*errors)))) == expected


@pytest.mark.parametrize("errors, expected", MIXED)
def test_a_mixed_group_counts_as_the_gravest_of_its_parts(errors: Sequence[BaseException], expected: object) -> None:
    assert kind(outcome(group(*errors))) == expected
    assert kind(outcome(group(*reversed(errors)))) == expected
    first, *others = errors
    assert kind(outcome(group(group(group(*others)), first))) == expected


@pytest.mark.parametrize("others", [[], [ValueError()], [Skip("gone")], [RetryAfter(3)]], ids=len)
def test_one_part_that_the_policy_gives_up_on_is_enough(others: list[BaseException]) -> None:
    for error in (group(RefusedForGood("no"), *others), group(*others, group(RefusedForGood("no")))):
        assert isinstance(outcome(error), GaveUp)
        raised = ending(error)
        assert isinstance(raised, Raised)
        assert isinstance(outcome(RemoteError(raised)), GaveUp), "raised in another process"


def test_a_policy_may_give_up_on_groups() -> None:
    policy = resolve(Defaults(retry=Retry(give_up_on=(ExceptionGroup,))))
    assert isinstance(outcome(group(ValueError()), policy), GaveUp)
    assert isinstance(outcome(ValueError(), policy), Failed)


def test_a_failed_group_names_its_parts() -> None:
    found = outcome(group(ValueError("no such account"), group(KeyError("iban"))))
    assert isinstance(found, Failed)
    assert found.failure.message == (
        "unhandled errors in a TaskGroup (2 sub-exceptions); ValueError: no such account; KeyError: 'iban'"
    )
