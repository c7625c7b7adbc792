"""Policies: attempts, limits and retention of a job, and their levels.

Each level (call, job, queue, domain, application) sets only the fields that it changes; None means "not set". The
nearest level that sets a field wins: a job with `Retry(attempts=5)` keeps the backoff of its queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast, get_args

from remit.catalog.backoff import Backoff, Exponential, Fixed, exponential
from remit.catalog.quantities import DAY, Duration, in_seconds, in_seconds_or_forever, whole
from remit.codec import MAX_BYTES
from remit.errors import InvalidArgument

T = TypeVar("T")
FIRST_PRIORITY: Final = -32_768
LAST_PRIORITY: Final = 32_767
MOST_ATTEMPTS: Final = 1_000_000
FOREVER: Final = 100 * 365 * DAY
"""Seconds that represent an unlimited age in a numeric column."""
LARGEST_PAYLOAD: Final = 2**30


def stated(what: str, given: object, form: type[T]) -> T | None:
    """Check and return a value of that class, or None. Raises `InvalidArgument`, naming `what`."""
    if given is None or isinstance(given, form):
        return given
    raise InvalidArgument(f"{what} must be {form.__name__}(…), not {given!r}.")


def check_priority(priority: int) -> int:
    """Check and return a priority: a small integer of the database, the lower first."""
    return whole("priority", priority, FIRST_PRIORITY, LAST_PRIORITY)


def check_attempts(attempts: int) -> int:
    """Check and return a number of attempts."""
    return whole("attempts", attempts, 1, MOST_ATTEMPTS)


def _check_backoff(given: object) -> None:
    if not isinstance(given, Exponential | Fixed) and not callable(given):
        raise InvalidArgument(
            f"backoff must be exponential(…), fixed(…) or a function (attempt, error) -> seconds, not {given!r}."
        )


def _exception_types(given: object) -> tuple[type[BaseException], ...]:
    classes = cast("tuple[object, ...]", given) if isinstance(given, tuple) else (given,)
    return tuple(_exception_type(each) for each in classes)


def _exception_type(given: object) -> type[BaseException]:
    if isinstance(given, type) and issubclass(given, BaseException):
        return given
    raise InvalidArgument(f"give_up_on takes exception classes, not {given!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The reaction to a handler that raises.

    `attempts` is the total number of attempts (default 3, including the first). `backoff` is `exponential(…)`,
    `fixed(…)` or a function `(attempt, error) -> seconds` (default `exponential(5.0)`). `give_up_on` names exceptions
    for which no retry can help: the job is dead at once (default none). Fields that are not set are taken from the
    next level up. Raises `InvalidArgument`.

        Retry(attempts=5, backoff=exponential(5.0), give_up_on=(InvoiceRefused,))
    """

    attempts: int | None = None
    backoff: Backoff | None = None
    give_up_on: tuple[type[BaseException], ...] | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None:
            check_attempts(self.attempts)
        if self.backoff is not None:
            _check_backoff(self.backoff)
        if self.give_up_on is not None:
            object.__setattr__(self, "give_up_on", _exception_types(self.give_up_on))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The time for which ended jobs stay in the database: by age and by count, whichever limit is reached first.

    `age` is how long a completed, skipped or cancelled job is kept (default 24 hours), `count` how many of them per
    queue (default 100,000; a whole number, on a queue, a domain or the application), `dead_age` how long a dead job
    is kept (default 14 days; its count is not limited). Ages are seconds or timedeltas; `math.inf` keeps for ever.
    Fields that are not set are taken from the next level up. Raises `InvalidArgument`.
    """

    age: Duration | None = None
    count: int | float | None = None
    dead_age: Duration | None = None

    def __post_init__(self) -> None:
        if self.age is not None:
            in_seconds_or_forever("age", self.age, zero=True)
        if self.dead_age is not None:
            in_seconds_or_forever("dead_age", self.dead_age, zero=True)
        if self.count is not None and self.count != math.inf:
            whole("count", self.count, 0, 2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The policy that one level sets for the jobs below it: `Remit(defaults=Defaults(timeout=300))`.

    The same fields are keywords of a domain class, a queue and a job class.

    - `retry`: see `Retry`.
    - `timeout`: seconds that one attempt may take. By default none: a job may run for days, and a dead worker is
      detected by its lease, not by a timeout. `math.inf` removes the limit of a level above.
    - `priority`: from -32,768 to 32,767, the lower first; 0 by default. It orders the jobs of one line.
    - `keep`: see `Keep`.
    - `expires`: seconds after it is due in which the first run may start; later the job is cancelled. It limits only
      the first start: retries and snoozes do not expire, nor does a job whose worker died, since it may have run. By
      default, and for `math.inf`, a job never expires.
    - `max_payload`: bytes that an encoded payload may have; 65,536 by default.

    Raises `InvalidArgument`.
    """

    retry: Retry | None = None
    timeout: Duration | None = None
    priority: int | None = None
    keep: Keep | None = None
    expires: Duration | None = None
    max_payload: int | None = None

    def __post_init__(self) -> None:
        stated("retry", self.retry, Retry)
        stated("keep", self.keep, Keep)
        if self.timeout is not None:
            in_seconds_or_forever("timeout", self.timeout)
        if self.priority is not None:
            check_priority(self.priority)
        if self.expires is not None:
            in_seconds_or_forever("expires", self.expires)
        if self.max_payload is not None:
            whole("max_payload", self.max_payload, 2, LARGEST_PAYLOAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """How long events stay in the log: `Remit(outbox=Outbox(keep=timedelta(days=30)))`.

    `keep` is how long an event is kept after its last delivery has ended (default 7 days); a class may set another
    time. It is written with the event: the value of the publisher's application at publish time applies, and neither a
    later change nor another application on the same store alters it. 0 removes the event as soon as it is complete,
    `math.inf` keeps it for ever. An event with a dead delivery is kept for as long as that delivery.

    `then` is the action after that: "delete" (default), or "archive" into the table `event_archive`, where it stays
    `archive_for` (default: for ever). Both are those of the current leader, for all events of the store: applications
    that share a store should use the same values.

    Durations are seconds or timedeltas. Raises `InvalidArgument`.
    """

    keep: Duration = 7 * DAY
    then: Literal["delete", "archive"] = "delete"
    archive_for: Duration = math.inf

    def __post_init__(self) -> None:
        in_seconds_or_forever("keep", self.keep, zero=True)
        in_seconds_or_forever("archive_for", self.archive_for, zero=True)
        if self.then not in get_args(Literal["delete", "archive"]):
            raise InvalidArgument(f"then must be 'delete' or 'archive', not {self.then!r}.")

    def resolve(self) -> LogRetention:
        """Return it in seconds."""
        keep = in_seconds_or_forever("keep", self.keep, zero=True)
        return LogRetention(
            keep=FOREVER if keep is None else keep,
            archive=self.then == "archive",
            archived_for=in_seconds_or_forever("archive_for", self.archive_for, zero=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """How `publish_soon` buffers its events: `Remit(rail=Rail(linger=0.2))`.

    - `linger`: seconds that an event waits for others at most, while the store keeps up (default 0.05).
    - `batch`: events that are written at once; a full batch is written without waiting (default 1,000, the maximum).
    - `capacity`: events that the buffer of one process holds, including those that are being written (default 50,000).
    - `capacity_bytes`: bytes of payload that it holds (default 32 MiB). A larger event is accepted while it is empty.
    - `max_wait`: seconds that `publish_soon` waits while the buffer is full, before it raises `StoreBusy`, and that
      the end of the application waits for the store, before it discards the rest and logs that (default 10).

    Durations are seconds or timedeltas; `max_wait` may be `math.inf`. Raises `InvalidArgument`.
    """

    linger: Duration = 0.05
    batch: int = 1_000
    capacity: int = 50_000
    capacity_bytes: int = 32 * 2**20
    max_wait: Duration = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "linger", in_seconds("linger", self.linger))
        whole("batch", self.batch, 1, 1_000)
        whole("capacity", self.capacity, 1, 10_000_000)
        whole("capacity_bytes", self.capacity_bytes, 1, 2**40)
        max_wait = in_seconds_or_forever("max_wait", self.max_wait, zero=True)
        object.__setattr__(self, "max_wait", math.inf if max_wait is None else max_wait)
        if self.batch > self.capacity:
            raise InvalidArgument(f"batch must not be over capacity, but {self.batch:,} is over {self.capacity:,}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRetention:
    """A resolved `Outbox`: seconds; `archived_for` is None for no limit."""

    keep: float
    archive: bool
    archived_for: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A resolved `Keep`: seconds and a count, None for no limit."""

    age: float | None
    count: int | None
    dead_age: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The resolved policy of a job. Durations are seconds, None for no limit."""

    attempts: int
    backoff: Backoff
    give_up_on: tuple[type[BaseException], ...]
    timeout: float | None
    priority: int
    keep: Retention
    expires: float | None
    max_payload: int


FALLBACK: Final = Defaults(
    retry=Retry(attempts=3, backoff=exponential(5.0), give_up_on=()),
    timeout=math.inf,
    priority=0,
    keep=Keep(age=1 * DAY, count=100_000, dead_age=14 * DAY),
    expires=math.inf,
    max_payload=MAX_BYTES,
)
"""The defaults of remit, for fields that no level sets."""


def resolve(*levels: Defaults) -> Policy:
    """Resolve the levels, the nearest first, and fill the rest from remit's own defaults."""
    heard = (*levels, FALLBACK)
    retries = [level.retry for level in heard if level.retry]
    return Policy(
        attempts=_first(retry.attempts for retry in retries),
        backoff=_first(retry.backoff for retry in retries),
        give_up_on=_first(retry.give_up_on for retry in retries),
        timeout=in_seconds_or_forever("timeout", _first(level.timeout for level in heard)),
        priority=_first(level.priority for level in heard),
        keep=_retention([level.keep for level in heard if level.keep]),
        expires=in_seconds_or_forever("expires", _first(level.expires for level in heard)),
        max_payload=_first(level.max_payload for level in heard),
    )


def _retention(keeps: list[Keep]) -> Retention:
    count = _first(keep.count for keep in keeps)
    return Retention(
        age=in_seconds_or_forever("age", _first(keep.age for keep in keeps), zero=True),
        count=None if count == math.inf else int(count),
        dead_age=in_seconds_or_forever("dead_age", _first(keep.dead_age for keep in keeps), zero=True),
    )


def _first(said: Iterable[Any]) -> Any:
    return next(value for value in said if value is not None)
