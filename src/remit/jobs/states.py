"""The life of a job: every state, every allowed move, and what an outcome turns it into. Pure: no clock, no I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Struct


class State(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Nothing moves it any more, except a person."""
        return self in FINAL


class Command(StrEnum):
    """What moves a job. Every statement that changes a state is one of these."""

    ENQUEUE = "enqueue"
    PROMOTE = "promote"
    CLAIM = "claim"
    EXPIRE = "expire"
    FINISH = "finish"
    RESCUE = "rescue"
    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"


FINAL: Final = frozenset({State.COMPLETED, State.SKIPPED, State.CANCELLED, State.DEAD})

MOVES: Final[dict[Command, dict[State, frozenset[State]]]] = {
    Command.PROMOTE: {State.SCHEDULED: frozenset({State.READY})},
    Command.CLAIM: {State.READY: frozenset({State.RUNNING})},
    Command.EXPIRE: {State.READY: frozenset({State.CANCELLED})},
    Command.FINISH: {
        State.RUNNING: frozenset(
            {State.COMPLETED, State.SKIPPED, State.CANCELLED, State.DEAD, State.SCHEDULED, State.READY}
        )
    },
    Command.RESCUE: {State.RUNNING: frozenset({State.READY, State.CANCELLED, State.DEAD})},
    Command.CANCEL: {
        State.SCHEDULED: frozenset({State.CANCELLED}),
        State.READY: frozenset({State.CANCELLED}),
        State.RUNNING: frozenset({State.RUNNING}),  # asked, not forced
        State.CANCELLED: frozenset({State.CANCELLED}),
    },
    Command.RETRY: {
        state: frozenset({State.READY}) for state in (State.SCHEDULED, State.DEAD, State.CANCELLED, State.SKIPPED)
    },
    Command.DELETE: {
        State.SCHEDULED: frozenset({State.CANCELLED}),
        State.READY: frozenset({State.CANCELLED}),
        **{state: frozenset({state}) for state in FINAL},
    },
}
"""From which state each command takes a job to which; what is not here is refused and changes nothing."""


def allows(command: Command, state: State) -> bool:
    """Whether a command applies to a job in this state."""
    return state in MOVES.get(command, {})


def allowed_for(command: Command) -> tuple[State, ...]:
    """The states to which a command applies, in the order of a life."""
    return tuple(state for state in State if allows(command, state))


class Failure(Struct, frozen=True):
    """Why a run failed, as it is kept."""

    kind: str
    message: str
    traceback: str | None = None


class Completed(Struct, frozen=True, tag=True):
    """The handler returned; `result` is JSON text or nothing."""

    result: str | None = None


class Skipped(Struct, frozen=True, tag=True):
    """The handler found that there is nothing to do."""

    reason: str


class Failed(Struct, frozen=True, tag=True):
    """The handler raised, ran out of time, or asked to be retried. `retry_in` is in seconds."""

    failure: Failure
    retry_in: float


class GaveUp(Struct, frozen=True, tag=True):
    """The handler, or its policy, said that no retry can help."""

    reason: str
    failure: Failure | None = None


class Snoozed(Struct, frozen=True, tag=True):
    """The handler asked to run again later, at no cost in attempts."""

    seconds: float


class Stopped(Struct, frozen=True, tag=True):
    """The handler stopped early: the job is cancelled. The reason of whoever asked for that comes first."""

    reason: str


class Interrupted(Struct, frozen=True, tag=True):
    """The worker gave the job back, at no cost: it shuts down. `began` says whether the handler had been called."""

    began: bool = False


Outcome: TypeAlias = Completed | Skipped | Failed | GaveUp | Snoozed | Stopped | Interrupted


class Transition(Struct, frozen=True):
    """What a running job becomes. `delay` is in seconds from the database's now, for the states that wait.

    `began` says that the handler was called in a run that was interrupted; with every other outcome it was.
    """

    state: State
    failures: int
    delay: float | None = None
    result: str | None = None
    reason: str | None = None
    failure: Failure | None = None
    began: bool = False


def decide(outcome: Outcome, *, failures: int, attempts: int) -> Transition:
    """Turn the outcome of one run into the job's next state.

    `failures` is what the job was charged before this run, `attempts` how many it has. A cancel request is looked at
    by the database, in the same statement: what would wait again is then cancelled.
    """
    match outcome:
        case Completed(result):
            return Transition(State.COMPLETED, failures, result=result)
        case Skipped(reason):
            return Transition(State.SKIPPED, failures, reason=reason)
        case Stopped(reason):
            return Transition(State.CANCELLED, failures, reason=reason)
        case Snoozed(seconds):
            return Transition(State.SCHEDULED, failures, delay=max(0.0, seconds))
        case Interrupted():
            return Transition(State.READY, failures, delay=0.0, began=outcome.began)
        case GaveUp(reason, failure):
            return Transition(State.DEAD, failures + 1, reason=reason, failure=failure)
        case Failed(failure, retry_in):
            charged = failures + 1
            if charged >= attempts:
                reason = f"failed {charged} of {attempts} attempts; last: {failure.kind}: {failure.message}"
                return Transition(State.DEAD, charged, reason=reason[:1000], failure=failure)
            return Transition(State.SCHEDULED, charged, delay=max(0.0, retry_in), failure=failure)
