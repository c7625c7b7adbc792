"""What a worker takes and gives back: claims, and runs that ended.

What is made once for each run is a msgspec struct: it takes a fifth of the time of a frozen dataclass to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from remit.catalog.policies import LAST_PRIORITY
from remit.jobs.states import State, Transition


class Claim(Struct):
    """A job that a worker holds: the row, and the token that proves it."""

    id: str
    token: int
    line: int
    failures: int
    attempts: int
    suspect: bool
    encoding: str
    payload: str | None
    """None where the event of a delivery is gone."""
    backoff: str | None
    correlation: str
    name: str
    traceparent: str | None = None
    envelope: str | None = None
    """Of a delivery: what came with the event, as the JSON text of an array."""
    timeout: float | None = None
    """Seconds that a run may take, where the call that sent the job said so."""
    hops: int = 0
    """Events in the chain of its causes; see `remit.catalog.hops`."""

    @property
    def attempt(self) -> int:
        return self.failures + 1


class Allotment(Struct, frozen=True):
    """How much one claim may take from a line: `quota` jobs at most, none of a priority number above `ceiling`."""

    line: int
    queue: str
    quota: int
    ceiling: int = LAST_PRIORITY

    def may_leave(self, taken: int) -> bool:
        """Whether the line may hold more, when it gave so many."""
        return taken >= self.quota or self.ceiling < LAST_PRIORITY


class Ended(Struct):
    """A run that ended, on its way to the store, with the jobs and events that it sends if this lands."""

    id: str
    token: int
    attempt: int
    transition: Transition
    messages: list[dict[str, Any]]
    attempts: int = 0
    events: Sequence[dict[str, Any]] = ()
    turn: tuple[str, int] | None = None
    """Of a delivery to an ordered subscription: the subscription's id, and the lane that may move on."""
    name: str = ""
    """The job's, for people."""

    @property
    def ordered(self) -> bool:
        """Whether it publishes ordered events, for whose turn it may have to wait."""
        return any("lane" in event for event in self.events)

    @property
    def has_own_ids(self) -> bool:
        """Whether it sends something under an id of the application's own, which another message may have."""
        return any("kinds" in each for each in (*self.messages, *self.events))


class Rescued(NamedTuple):
    """A job that was taken from a worker that is gone. `charged`: the crash cost it an attempt."""

    id: str
    state: State
    charged: bool
    name: str
    worker: str


class Landed(Struct, frozen=True):
    """A transition that took place; the state may be `cancelled` where a cancellation had been asked for."""

    id: str
    state: State
