"""What follows when the store has decided about the end of a run.

Every part that learns how one fared reports it here: a way of ending cannot forget the claim, the counters or the lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from remit.execution.model import Ended
from remit.jobs.states import State
from remit.outbox.model import Lane
from remit.runtime.path.ledger import Claims
from remit.telemetry import Telemetry


class Settlement:
    """What follows from an end: the claim is dropped, the end is counted and logged, its lane advances.

    `promote_in` is called with the seconds after which a job is to be promoted; `advance` with lanes of ordered
    subscriptions in which a delivery may have ended; `advance_any` where such lanes are not known.
    """

    def __init__(
        self,
        claims: Claims,
        telemetry: Telemetry,
        promote_in: Callable[[float], None],
        advance: Callable[[Iterable[Lane]], None],
        advance_any: Callable[[], None],
    ) -> None:
        self._claims = claims
        self._telemetry = telemetry
        self._promote_in = promote_in
        self._advance = advance
        self._advance_any = advance_any

    def landed(self, ended: Ended, state: State) -> None:
        """The store took it. `state` is what the job is now: `cancelled` if it would wait and was to be cancelled."""
        self._claims.ledger.drop(ended.id, ended.token)
        self._telemetry.ended(state)
        if state.is_final:
            self._free(ended)
        transition = ended.transition
        if state is State.DEAD:
            self._telemetry.dead(ended.name, ended.id, transition.reason or "", _traceback(ended))
        elif state is State.SCHEDULED and transition.delay is not None:
            if transition.failure is not None:
                error = f"{transition.failure.kind}: {transition.failure.message}"
                self._telemetry.failed(
                    ended.name, ended.id, ended.attempt, ended.attempts, error, transition.delay, _traceback(ended)
                )
            self._promote_in(transition.delay)

    def refused(self, ended: Ended) -> None:
        """The store did not take it: the claim was no longer ours."""
        self._telemetry.lease_lost(ended.name, ended.id)
        self.unknown(ended)

    def unknown(self, ended: Ended) -> None:
        """The claim is gone. The job may have ended: a process may commit a completion and die before it reports it."""
        self._claims.ledger.drop(ended.id, ended.token)
        self._free(ended)

    def moved(self, states: Iterable[State]) -> None:
        """Jobs of which this worker knew nothing were brought to these states; there may be deliveries among them."""
        if any(state.is_final for state in states):
            self._advance_any()

    def _free(self, ended: Ended) -> None:
        if ended.turn is not None:
            self._advance([ended.turn])


def _traceback(ended: Ended) -> str | None:
    failure = ended.transition.failure
    return None if failure is None else failure.traceback
