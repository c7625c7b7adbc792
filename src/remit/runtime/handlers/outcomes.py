"""From what a handler did to an outcome: one value, decided in one place, for every mode of handlers."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from remit.catalog import Policy, exponential, parse_backoff, retry_delay
from remit.errors import TooManyHops
from remit.jobs.signals import Cancelled, DeadLetter, RetryAfter, Signal, Skip, Snooze
from remit.jobs.states import Failed, Failure, GaveUp, Outcome, Skipped, Snoozed, Stopped
from remit.telemetry import Telemetry

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 16_000
_CUT = "\n… {count:,} characters left out …\n"


class Raised(Struct, frozen=True, tag=True):
    """An exception of the handler's own, whose outcome depends on the policy.

    `lineage` names its class and bases, and those of all exceptions in a group. `retry_in` is set where a part of a
    group said after how many seconds to try again.
    """

    failure: Failure
    lineage: tuple[str, ...]
    retry_in: float | None = None


def outcome_of(
    error: BaseException, *, name: str, policy: Policy, failures: int, backoff: str | None, telemetry: Telemetry
) -> Outcome:
    """What a run that raised amounts to. `failures` is what the job was charged before it."""
    ended = ending(error)
    if not isinstance(ended, Raised):
        return ended
    failure = ended.failure
    if policy.give_up_on and _is_any(error, ended, policy.give_up_on):
        return GaveUp(f"{failure.kind}: {failure.message}", failure)
    if ended.retry_in is not None:
        return Failed(failure, ended.retry_in)
    return Failed(failure, _delay(error, name, policy, failures + 1, backoff, telemetry))


def ending(error: BaseException) -> Outcome | Raised:
    """What an exception says by itself about the end of its run, in whatever process it was raised.

    A group counts as the gravest of its parts: dead, then failed, then cancelled, then snoozed, then skipped. Parts of
    one kind are one: their reasons are joined, and the longest of their waits counts.
    """
    if isinstance(error, RemoteError):
        return error.ending
    parts = list(_parts(error))
    waits = [each.seconds for each in parts if isinstance(each, RetryAfter)]
    failures = [each for each in parts if not isinstance(each, Signal)]
    if dead := _reasons(parts, DeadLetter):
        return GaveUp(dead, describe(error) if failures else None)
    if loops := [describe(each).message for each in failures if isinstance(each, TooManyHops)]:
        return GaveUp("; ".join(dict.fromkeys(loops)), describe(error))  # the next attempt would be as deep
    if failures:
        kinds = tuple(dict.fromkeys(name for each in (error, *failures) for name in lineage(type(each))))
        return Raised(describe(error), kinds, max(waits, default=None))
    if waits:
        return Failed(Failure("RetryAfter", _reasons(parts, RetryAfter)), max(waits))
    if cancelled := _reasons(parts, Cancelled):
        return Stopped(cancelled)
    if snoozes := [each.seconds for each in parts if isinstance(each, Snooze)]:
        return Snoozed(max(snoozes))
    return Skipped(_reasons(parts, Skip))


def _parts(error: BaseException) -> Iterator[BaseException]:
    """What a group is made of, through all groups in it. Tasks that were cancelled for another one do not count."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    parts = [part for each in error.exceptions for part in _parts(each)]
    causes = [each for each in parts if not isinstance(each, asyncio.CancelledError)]
    yield from causes or parts


def _reasons(parts: Iterable[BaseException], kind: type[Skip | RetryAfter | DeadLetter | Cancelled]) -> str:
    """The reasons of all signals of a kind, each once; empty where there is none."""
    reasons = dict.fromkeys(each.reason for each in parts if isinstance(each, kind))
    return storable("; ".join(reasons), LONGEST_MESSAGE)


def _delay(
    error: BaseException, name: str, policy: Policy, failures: int, backoff: str | None, telemetry: Telemetry
) -> float:
    try:
        chosen = policy.backoff if backoff is None else parse_backoff(backoff)
        return retry_delay(chosen, failures, error, random.random())
    except BaseException as broken:  # the application's own function: a bug there must not cost the job
        telemetry.bad_backoff(name, broken)
        return exponential().delay(failures, random.random())


def describe(error: BaseException) -> Failure:
    """An exception as it is kept: bounded, and free of what a database cannot store."""
    try:
        message = str(error)
        if isinstance(error, BaseExceptionGroup):  # whose text counts its parts, and names none
            message += "".join(f"; {type(each).__qualname__}: {each}" for each in _parts(error))
    except Exception:
        message = "(its text could not be made)"
    try:
        stack = "".join(traceback.format_exception(error, limit=-50))
    except Exception:  # it is made from attributes of the exception, which may be anything
        stack = "(its traceback could not be made)"
    kind = type(error)
    qualified = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Failure(storable(qualified, 200), storable(message, LONGEST_MESSAGE), storable(stack, LONGEST_TRACEBACK))


def timed_out(seconds: float, stood: str | None = None, then: BaseException | None = None) -> TimeoutError:
    """The error of a run that took longer than its timeout: where it stood at that moment, and what it raised then."""
    error = TimeoutError(f"the run took longer than its timeout of {seconds:g} s")
    if stood:
        error.add_note(f"It stood here when its time was up (most recent call last):\n{stood}")
    if not isinstance(then, asyncio.CancelledError | TimeoutError):
        error.__cause__ = then
    return error


def storable(text: Any, longest: int) -> str:
    """A text that every store takes: bounded, without NUL and lone surrogates."""
    clean = str(text).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    if len(clean) <= longest:
        return clean
    half = max(1, (longest - 60) // 2)
    return clean[:half] + _CUT.format(count=len(clean) - 2 * half) + clean[-half:]


class RemoteError(Exception):
    """What a handler raised in another process: what is known of it, standing in for the exception."""

    def __init__(self, ending: Outcome | Raised) -> None:
        failure = ending.failure if isinstance(ending, Raised) else None
        super().__init__(f"{failure.kind}: {failure.message}" if failure else repr(ending))
        self.ending = ending


def lineage(kind: type[BaseException]) -> tuple[str, ...]:
    """The qualified names of an exception's class and its bases, by which another process recognises it."""
    return tuple(f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__)


def _is_any(error: BaseException, raised: Raised, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, RemoteError):
        return any(lineage(kind)[0] in raised.lineage for kind in kinds)
    return isinstance(error, kinds) or any(isinstance(each, kinds) for each in _parts(error))
