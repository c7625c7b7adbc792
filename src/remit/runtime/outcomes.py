"""From what a handler did to an outcome: one value, decided in one place, for every mode of handlers."""

from __future__ import annotations

import random
import traceback
from typing import Any

from msgspec import Struct

from remit.catalog import Policy, exponential, parse_backoff, retry_delay
from remit.jobs.signals import DeadLetter, RetryAfter, Skip, Snooze
from remit.jobs.states import Failed, Failure, GaveUp, Outcome, Skipped, Snoozed
from remit.telemetry import Telemetry

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 16_000
_CUT = "\n… {count:,} characters left out …\n"


class Raised(Struct, frozen=True, tag=True):
    """An exception of the handler's own, whose outcome depends on the policy. `lineage` names its class and bases."""

    failure: Failure
    lineage: tuple[str, ...]


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
    return Failed(failure, _delay(error, name, policy, failures + 1, backoff, telemetry))


def ending(error: BaseException) -> Outcome | Raised:
    """What an exception says by itself about the end of its run, in whatever process it was raised."""
    match error:
        case RemoteError():
            return error.ending
        case Skip():
            return Skipped(storable(error.reason, LONGEST_MESSAGE))
        case Snooze():
            return Snoozed(error.seconds)
        case DeadLetter():
            return GaveUp(storable(error.reason, LONGEST_MESSAGE))
        case RetryAfter():
            return Failed(Failure("RetryAfter", storable(error.reason, LONGEST_MESSAGE)), error.seconds)
        case _:
            return Raised(describe(error), lineage(type(error)))


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
    except Exception:
        message = "(its text could not be made)"
    try:
        stack = "".join(traceback.format_exception(error, limit=-50))
    except Exception:  # it is made from attributes of the exception, which may be anything
        stack = "(its traceback could not be made)"
    kind = type(error)
    qualified = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Failure(storable(qualified, 200), storable(message, LONGEST_MESSAGE), storable(stack, LONGEST_TRACEBACK))


def timed_out(seconds: float) -> TimeoutError:
    """The error of a run that took longer than its timeout."""
    return TimeoutError(f"the run took longer than its timeout of {seconds:g} s")


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
    return isinstance(error, kinds)
