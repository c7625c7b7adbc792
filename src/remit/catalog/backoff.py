"""The wait before the next attempt: arithmetic without a clock and without a source of randomness."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, TypeAlias

from remit.catalog.quantities import HOUR, Duration, between, in_seconds
from remit.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Exponential:
    """Waits `base` seconds after the first failure and `factor` times longer after each further one.

    Made by `exponential`, which documents the numbers.
    """

    base: float
    factor: float
    cap: float
    jitter: float

    kind: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        in_seconds("base_seconds", self.base)
        in_seconds("cap", self.cap)
        between("factor", self.factor, 1, 1000)
        between("jitter", self.jitter, 0, 1)

    def delay(self, failures: int, random: float) -> float:
        """Return the seconds to wait after so many `failures` (1 or more), from a `random` number in [0, 1).

        Never negative and never over `cap`, however large `failures` is.
        """
        try:
            full = min(self.cap, self.base * float(self.factor) ** (max(failures, 1) - 1))
        except OverflowError:  # some thousand failures
            full = self.cap if self.base else 0.0
        return full * (1 - self.jitter * random)

    def dump(self) -> str:
        """Write it as compact JSON, for the row of one job; `parse_backoff` reads it."""
        return _dump(self)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Waits the same number of seconds after every failure. Made by `fixed`."""

    wait: float
    jitter: float = 0.0

    kind: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        in_seconds("seconds", self.wait)
        between("jitter", self.jitter, 0, 1)

    def delay(self, failures: int, random: float) -> float:
        """Return the seconds to wait, from a `random` number in [0, 1), whatever the number of `failures`."""
        return self.wait * (1 - self.jitter * random)

    def dump(self) -> str:
        """Write it as compact JSON, for the row of one job; `parse_backoff` reads it."""
        return _dump(self)


DeclaredBackoff: TypeAlias = Exponential | Fixed
"""A backoff that is data: it can be written into a job's row, so it can also be given per call."""

Backoff: TypeAlias = DeclaredBackoff | Callable[[int, BaseException], Duration]
"""A declared backoff, or a function of the attempt that failed (1, 2 …) and its error."""


def exponential(
    base_seconds: Duration = 5.0, *, factor: float = 2.0, cap: Duration = 6 * HOUR, jitter: float = 0.2
) -> Exponential:
    """Back off exponentially.

    `base_seconds` is the wait after the first failure (default 5), `factor` its growth per failure (default 2), `cap`
    the longest wait in seconds (default 6 hours: 15 attempts then span 17 hours, longer than a bad deploy usually
    lasts), and `jitter` the random share of a wait (default 0.2: between 80 % and 100 % of it), so that jobs that
    failed together are not retried together. Raises `InvalidArgument`.

        Retry(attempts=15, backoff=exponential(5.0))
    """
    return Exponential(in_seconds("base_seconds", base_seconds), factor, in_seconds("cap", cap), jitter)


def fixed(seconds: Duration, *, jitter: float = 0.0) -> Fixed:
    """Wait the same time after every failure: `fixed(30)`. `jitter` is the random share of the wait (default 0)."""
    return Fixed(in_seconds("seconds", seconds), jitter)


def parse_backoff(text: str) -> DeclaredBackoff:
    """Read text that `dump` wrote. Raises `InvalidArgument` for any other text."""
    try:
        values: dict[str, Any] = json.loads(text)
        return _KINDS[values.pop("kind")](**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{text!r} is not a backoff that remit wrote.") from error


def retry_delay(backoff: Backoff, failures: int, error: BaseException, random: float) -> float:
    """Return the seconds to wait after a failure, from a declared backoff or a function.

    Raises `InvalidArgument` if the function does not return a duration, and any error of the function.
    """
    if isinstance(backoff, Exponential | Fixed):
        return backoff.delay(failures, random)
    return in_seconds("The result of the backoff function", backoff(failures, error))


_KINDS: Final[dict[str, Callable[..., DeclaredBackoff]]] = {Exponential.kind: Exponential, Fixed.kind: Fixed}


def _dump(backoff: DeclaredBackoff) -> str:
    return json.dumps({"kind": backoff.kind, **asdict(backoff)}, separators=(",", ":"))
