"""How many events may follow from one cause: the guard against events that lead to themselves for ever.

A hop is an event that a run publishes, and the depth of a message is the number of hops in the chain of its causes.
So an event has one more than the run that publishes it, and its deliveries have as many. A job has as many as the run
that enqueues it: a job may enqueue itself for as long as it likes. A job that is due later begins a new chain: no
loop through it can be fast.
"""

from __future__ import annotations

import time
from typing import Final

from remit.catalog.calls import EnqueueRequest
from remit.catalog.origins import Origin
from remit.codec import decode
from remit.errors import InvalidArgument, TooManyHops

MAX_HOPS: Final = 100
"""The limit of an application that sets none."""
HIGHEST_LIMIT: Final = 10_000
DEEPEST: Final = 32_000
"""Where counting ends without a limit; the statements that write `JobDied` know it too."""
SPARE: Final = 10
"""Events beyond the limit that may follow the `JobDied` of a job at the limit, so that its death can be reported."""
LATER: Final = 1.0
"""Seconds: a job that is due so much later, or more, begins a new chain."""


def hop_limit(max_hops: int | None) -> int | None:
    """Check a limit. Raises `InvalidArgument`."""
    if max_hops is None or (type(max_hops) is int and 1 <= max_hops <= HIGHEST_LIMIT):
        return max_hops
    raise InvalidArgument(f"max_hops is a number of events from 1 to {HIGHEST_LIMIT:,}, or None, not {max_hops!r}")


def event_hops(origin: Origin, limit: int | None, name: str) -> int:
    """The depth of an event that a run publishes. Raises `TooManyHops`.

    Beyond the limit a run is only after the death of a job: `JobDied` is written without asking.
    """
    hops = origin.hops
    if limit is not None and (hops == limit or hops >= limit + SPARE):
        raise TooManyHops(_refusal(origin, limit, "publish", name))
    return min(hops + 1, DEEPEST)


def job_hops(origin: Origin, limit: int | None, request: EnqueueRequest) -> int:
    """The depth of a job that a run enqueues. Raises `TooManyHops` where deaths of jobs lead to themselves."""
    hops = origin.hops
    if not hops or _is_later(request):
        return 0
    if limit is not None and hops >= limit + SPARE:
        raise TooManyHops(_refusal(origin, limit, "enqueue", request.spec.name))
    return hops


def _is_later(request: EnqueueRequest) -> bool:
    if request.at is not None:
        return request.at.timestamp() - time.time() >= LATER
    return bool(request.delay) and request.delay >= LATER


def _refusal(origin: Origin, limit: int, verb: str, name: str) -> str:
    links = [origin.job, name]
    if origin.envelope is not None:
        links.insert(0, decode(origin.envelope)[1])
    return (
        f"{origin.job} cannot {verb} {name}: the chain of its causes has {origin.hops} hops, and max_hops is "
        f"{limit}. The chain ends with {' -> '.join(links)}; all of it has the correlation {origin.correlation}. "
        "If it is a loop, break it: publish another event, or none, once there is nothing more to do. If it has to go "
        "on, enqueue a job with a delay of a second or more in between, or raise max_hops of Remit."
    )
