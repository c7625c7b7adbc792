"""From the outcome of a run to its end, as the store takes it. Every `Ended` of the runtime is made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remit.catalog import Subscription, Work
from remit.codec import decode
from remit.execution.model import Claim, Ended
from remit.jobs.states import Completed, Interrupted, Outcome, decide
from remit.outbox.model import Lane


def settle(
    claim: Claim,
    work: Work,
    outcome: Outcome,
    messages: list[dict[str, Any]] | None = None,
    events: Sequence[dict[str, Any]] = (),
) -> Ended:
    """The end of a run as the store takes it. What the run sends goes with it only if the run completes."""
    sends = isinstance(outcome, Completed)
    return Ended(
        claim.id,
        claim.token,
        claim.attempt,
        decide(outcome, failures=claim.failures, attempts=claim.attempts),
        messages if sends and messages is not None else [],
        attempts=claim.attempts,
        events=events if sends else (),
        turn=_turn(claim, work),
        name=claim.name,
    )


def stray(id: str, token: int, failures: int) -> Ended:
    """The end of a claim of which only the row is known: it never started here, and goes back at no cost."""
    return Ended(id, token, failures + 1, decide(Interrupted(), failures=failures, attempts=failures + 1), [])


def _turn(claim: Claim, work: Work) -> Lane | None:
    """Of a delivery to an ordered subscription: the lane that may advance when it has ended."""
    if claim.envelope is None or not isinstance(work, Subscription) or work.ordered_by is None:
        return None
    *_, subscription, lane = decode(claim.envelope)
    return None if lane is None else (subscription, lane)
