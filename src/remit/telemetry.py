"""Everything that the runtime tells: one seam, and all its words in one place.

Log messages are stable: monitors may match them. Each names what happened first, then the job, then the numbers.
"""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger("remit")


class Telemetry:
    """Counts and logs what a worker does. Counting is always on; nothing is formatted that nobody reads."""

    def __init__(self, worker: str = "") -> None:
        self.worker = worker
        self.counts: Counter[str] = Counter()

    def ended(self, state: str) -> None:
        self.counts[state] += 1

    def failed(
        self, name: str, id: str, attempt: int, attempts: int, error: BaseException | str, retry_in: float
    ) -> None:
        self.counts["failed"] += 1
        log.warning(
            "job failed, retry in %.1f s: %s %s, attempt %d of %d: %s", retry_in, name, id, attempt, attempts, error
        )

    def dead(self, name: str, id: str, reason: str) -> None:
        log.error("job dead: %s %s: %s", name, id, reason)

    def expired(self, id: str) -> None:
        log.info("job expired before its first run: %s", id)

    def lease_lost(self, name: str, id: str) -> None:
        self.counts["lease_lost"] += 1
        log.warning("outcome refused, the lease was lost: %s %s: the job runs, or has run, elsewhere", name, id)

    def late(self, name: str, id: str) -> None:
        self.counts["late"] += 1
        log.warning("late outcome refused: %s %s: its run had been given up", name, id)

    def after_completion(self, name: str, id: str, error: BaseException) -> None:
        log.error("handler failed after its job was completed: %s %s: %r", name, id, error)

    def thread_stuck(self, name: str, id: str, why: str) -> None:
        self.counts["stuck"] += 1
        log.error("run given up, but its thread cannot be stopped: %s %s: %s; its slot is replaced", name, id, why)

    def cancellation_swallowed(self, name: str, id: str) -> None:
        self.counts["stuck"] += 1
        log.error("run given up, it swallowed its cancellation and goes on: %s %s; its slot is replaced", name, id)

    def no_result(self, name: str, id: str, error: BaseException | str) -> None:
        log.warning("result not kept: %s %s: %s", name, id, error)

    def bad_backoff(self, name: str, error: BaseException) -> None:
        log.error("backoff function failed, the default is used: %s: %r", name, error)

    def long_transaction(self, name: str, id: str, seconds: float) -> None:
        log.warning(
            "run.transaction() held the write lock for %.1f s: %s %s: nobody else could write", seconds, name, id
        )

    def released(self, count: int) -> None:
        self.counts["reconciled"] += count
        log.warning("released %d jobs that the database said were ours, and that we did not hold", count)

    def rescued(self, id: str, state: str, crashed: bool) -> None:
        self.counts["rescued"] += 1
        why = "it crashed its worker" if crashed else "its worker is gone"
        log.warning("job rescued, now %s: %s: %s", state, id, why)

    def buried(self, worker: str) -> None:
        self.counts["buried"] += 1
        log.warning("worker declared dead: %s", worker)

    def fenced(self, worker: str, why: str) -> None:
        self.counts["fenced"] += 1
        log.error("lease lost: worker %s stops all its runs and starts again under a new id: %s", worker, why)

    def elected(self, role: str) -> None:
        log.info("elected: this worker is the %s", role)

    def deposed(self, role: str) -> None:
        log.info("no longer the %s", role)

    def pruned(self, count: int) -> None:
        self.counts["pruned"] += count
        log.debug("pruned %d ended jobs", count)

    def trouble(self, part: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        log.error("%s cannot work: %s; trying again until it can", part, error)

    def crashed(self, part: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        log.error("%s failed unexpectedly; trying again", part, exc_info=error)

    def broken(self, name: str, id: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        log.error("run failed unexpectedly: %s %s", name, id, exc_info=error)

    def healed(self, part: str, seconds: float) -> None:
        log.info("%s works again after %.1f s", part, seconds)

    def blocked(self, seconds: float, jobs: str, stack: str) -> None:
        self.counts["blocked"] += 1
        log.warning("event loop blocked for %.1f s by %s; its leases are kept. The stack:\n%s", seconds, jobs, stack)

    def unknown_work(self, names: str) -> None:
        log.warning("ready jobs that this worker does not know are left to others: %s", names)

    def adopted(self, name: str, queue: str, into: str) -> None:
        log.warning(
            "jobs %s wait in the queue %s, to which they are sent no more: they run in the slots of %s",
            name,
            queue,
            into,
        )

    def undecodable(self, name: str, id: str, error: BaseException) -> None:
        self.counts["undecodable"] += 1
        log.error("payload cannot be read, job set aside: %s %s: %s", name, id, error)

    def declared(self, names: str) -> None:
        log.info("subscriptions entered or changed: %s", names)

    def vanished(self, name: str, deliveries: int) -> None:
        log.warning(
            "subscription %s is declared no more, and %d of its deliveries wait: "
            "bring its handler back, or run `remit subscriptions retire %s`", name, deliveries, name
        )  # fmt: skip

    def twins(self, name: str, former: str) -> None:
        log.warning(
            "subscriptions %s and %s stand for one handler, which gets each event from both: "
            "run `remit subscriptions retire %s`", name, former, former
        )  # fmt: skip

    def ahead(self, name: str, present: str, revision: int) -> None:
        log.warning(
            "the store holds another declaration of %s (there %s, revision %d) than this worker's, and goes by it: "
            "after a roll-back run `remit migrate` of this release, which puts this one through",
            name, present, revision,
        )  # fmt: skip

    def unknown_event(self, name: str, version: int, count: int) -> None:
        log.warning(
            "events wait for a release that declares them: %s v%d (%d): "
            "start a worker of that release, or run `remit migrate` with it", name, version, count
        )  # fmt: skip

    def event_failed(self, name: str, id: str, attempt: int, error: str, retry_in: float) -> None:
        self.counts["event_failed"] += 1
        log.warning("event not dispatched, retry in %.1f s: %s %s, attempt %d: %s", retry_in, name, id, attempt, error)

    def event_dead(self, name: str, id: str, error: str) -> None:
        self.counts["event_dead"] += 1
        log.error("event dead, no subscription gets it: %s %s: %s", name, id, error)

    def purged(self, count: int) -> None:
        self.counts["purged"] += count
        log.debug("purged %d events", count)

    def rail_refused(self, name: str, id: str, error: BaseException) -> None:
        self.counts["rail_refused"] += 1
        log.error("event lost, the store refuses it and takes others: %s %s: %s", name, id, error)

    def rail_lost(self, events: Counter[str], seconds: float) -> None:
        self.counts["rail_lost"] += events.total()
        names = ", ".join(f"{count} {name}" for name, count in events.most_common())
        log.error(
            "%d events lost, the store took none of them in the last %.1f s of the direct rail: %s",
            events.total(), seconds, names,
        )  # fmt: skip


class Refusals:
    """Messages that domains tried to send and may not, counted by (domain, message)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(self, domain: str, message: str, kind: str) -> None:
        self.counts[domain, message] += 1
        log.warning("refused: %s tried to send the %s %s, which it does not own", domain, kind, message)
