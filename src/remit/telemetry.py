"""Everything that the runtime logs and counts: one seam, and all log messages in one place.

Log messages are stable: monitors may match them. A message is one line: first the occurrence, then the job, then the
numbers. What a message names stands beside it as fields of the record, each with the prefix `remit_`: `remit_job`,
`remit_job_id`, `remit_attempt`, `remit_worker`, `remit_error`, ….
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any


class _OwnRecords:
    """Of a logger: the `extra` of a call overrides what the context of a run has put on the record.

    `logging` refuses a field that the record has already.
    """

    def makeRecord(  # noqa: N802 - the name of the method that it overrides
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        record: logging.LogRecord = super().makeRecord(  # type: ignore[misc]
            name, level, fn, lno, msg, args, exc_info, func, None, sinfo
        )
        vars(record).update(extra or {})
        return record


def own_logger(name: str) -> logging.Logger:
    """The logger of that name, as one of remit's own: its fields may repeat what the context says."""
    logger = logging.getLogger(name)
    kind = type(logger)
    if not isinstance(logger, _OwnRecords):
        logger.__class__ = type(kind.__name__, (_OwnRecords, kind), {})
    return logger


log = own_logger("remit")
supervisor_log = own_logger("remit.supervisor")
wakeup_log = own_logger("remit.wakeup")

LONGEST_ERROR = 500
_STATEMENT = re.compile(r"\s*(?:\n(?:LINE \d+:|CONTEXT:|QUERY:|STATEMENT:)|\[SQL:).*", re.DOTALL)


def one_line(error: BaseException | str) -> str:
    """An error for a message: one line of at most 500 characters, without the statement that it may quote."""
    text = " ".join(_STATEMENT.sub("", str(error)).split())
    if not text and isinstance(error, BaseException):
        text = type(error).__name__
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 1] + "…"


def named(error: BaseException) -> str:
    """The kind of an error and its text, in one line."""
    text = one_line(error)
    kind = type(error).__name__
    return kind if text == kind else f"{kind}: {text}"


def fields(**given: object) -> dict[str, object]:
    """What a message names, as fields of its record; None is left out."""
    return {f"remit_{name}": value for name, value in given.items() if value is not None}


def enable() -> None:
    """Let remit's loggers log again: `logging.config.dictConfig` disables all that exist before it, by default."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.partition(".")[0] == "remit" and isinstance(logger, logging.Logger):
            logger.disabled = False


def _in_full(error: BaseException | str) -> None:
    """Log what a message left out of an error, statements among it, for those who debug."""
    if log.isEnabledFor(logging.DEBUG) and one_line(error) != str(error):
        log.debug("the whole error: %s", error)


class Telemetry:
    """Counts and logs what a worker does. Counting is always on; nothing is formatted that nobody reads."""

    def __init__(self, worker: str = "") -> None:
        self.worker = worker
        self.counts: Counter[str] = Counter()
        self._unkept: set[tuple[str, str]] = set()
        self.tracebacks = False
        """Whether failures are logged with their tracebacks: in `drain`, whose log somebody reads at once."""

    def _shown(self, traceback: str | None) -> dict[str, object]:
        """As fields of a record: what a `logging.Formatter` writes below the message."""
        return {"exc_text": traceback.rstrip()} if traceback and self.tracebacks else {}

    def ended(self, state: str) -> None:
        self.counts[state] += 1

    def failed(
        self,
        name: str,
        id: str,
        attempt: int,
        attempts: int,
        error: BaseException | str,
        retry_in: float,
        traceback: str | None = None,
    ) -> None:
        self.counts["failed"] += 1
        text = one_line(error)
        log.warning(
            "job failed, retry in %.1f s: %s %s, attempt %d of %d: %s", retry_in, name, id, attempt, attempts, text,
            extra=fields(job=name, job_id=id, attempt=attempt, attempts=attempts, retry_in=retry_in, error=text)
            | self._shown(traceback),
        )  # fmt: skip
        _in_full(error)

    def dead(self, name: str, id: str, reason: str, traceback: str | None = None) -> None:
        text = one_line(reason)
        named_fields = fields(job=name, job_id=id, reason=text) | self._shown(traceback)
        log.error("job dead: %s %s: %s", name, id, text, extra=named_fields)

    def expired(self, id: str) -> None:
        log.info("job expired before its first run: %s", id, extra=fields(job_id=id))

    def lease_lost(self, name: str, id: str) -> None:
        self.counts["lease_lost"] += 1
        log.warning(
            "outcome refused, the lease was lost: %s %s: the job runs, or has run, elsewhere", name, id,
            extra=fields(job=name, job_id=id),
        )  # fmt: skip

    def late(self, name: str, id: str) -> None:
        self.counts["late"] += 1
        log.warning(
            "late outcome refused: %s %s: its run had been given up", name, id, extra=fields(job=name, job_id=id)
        )

    def after_completion(self, name: str, id: str, error: BaseException) -> None:
        text = named(error)
        log.error(
            "handler failed after its job was completed: %s %s: %s", name, id, text,
            extra=fields(job=name, job_id=id, error=text),
        )  # fmt: skip
        _in_full(error)

    def thread_stuck(self, name: str, id: str, why: str) -> None:
        self.counts["stuck"] += 1
        log.error(
            "run given up, but its thread cannot be stopped: %s %s: %s; its slot is replaced", name, id, why,
            extra=fields(job=name, job_id=id, reason=why),
        )  # fmt: skip

    def cancellation_swallowed(self, name: str, id: str) -> None:
        self.counts["stuck"] += 1
        log.error(
            "run given up, it swallowed its cancellation and goes on: %s %s; its slot is replaced", name, id,
            extra=fields(job=name, job_id=id),
        )  # fmt: skip

    def no_result(self, name: str, id: str, error: BaseException | str) -> None:
        """Reported once for each handler and cause: a handler does so in every run, or in many."""
        cause = (name, error if isinstance(error, str) else type(error).__name__)
        if cause in self._unkept:
            return
        self._unkept.add(cause)
        text = one_line(error)
        log.warning(
            "result not kept: %s %s: %s (reported once for each handler)", name, id, text,
            extra=fields(job=name, job_id=id, reason=text),
        )  # fmt: skip

    def bad_backoff(self, name: str, error: BaseException) -> None:
        text = named(error)
        log.error(
            "backoff function failed, the default is used: %s: %s", name, text, extra=fields(job=name, error=text)
        )

    def long_transaction(self, name: str, id: str, seconds: float) -> None:
        log.warning(
            "run.transaction() held the write lock for %.1f s: %s %s: nobody else could write", seconds, name, id,
            extra=fields(job=name, job_id=id, seconds=seconds),
        )  # fmt: skip

    def released(self, count: int) -> None:
        self.counts["reconciled"] += count
        log.warning(
            "released %d jobs that the database assigned to this worker, and that it did not hold", count,
            extra=fields(count=count),
        )  # fmt: skip

    def rescued(self, name: str, id: str, state: str, worker: str, crashed: bool) -> None:
        self.counts["rescued"] += 1
        why = "died while it ran this job alone; this costs an attempt" if crashed else "is gone; this costs no attempt"
        log.warning(
            "job rescued, now %s: %s %s: its worker %s %s", state, name, id, worker, why,
            extra=fields(job=name, job_id=id, state=state, worker=worker, charged=crashed),
        )  # fmt: skip

    def declared_dead(self, worker: str) -> None:
        self.counts["buried"] += 1
        log.warning("worker declared dead: %s", worker, extra=fields(worker=worker))

    def fenced(self, worker: str, why: str) -> None:
        self.counts["fenced"] += 1
        log.error(
            "lease lost: worker %s stops all its runs and starts again under a new id: %s", worker, why,
            extra=fields(worker=worker, reason=why),
        )  # fmt: skip

    def interrupting(self, count: int) -> None:
        runs = "1 run" if count == 1 else f"{count} runs"
        log.warning("interrupting %s that did not end before the stop", runs, extra=fields(count=count))

    def log_lost(self, error: BaseException) -> None:
        text = one_line(error)
        log.warning("lines that handlers logged could not be kept: %s", text, extra=fields(error=text))

    def not_signed_off(self, why: str) -> None:
        text = one_line(why)
        log.warning("could not sign off: %s", text, extra=fields(error=text))

    def elected(self, role: str) -> None:
        log.info("elected: this worker is the %s", role, extra=fields(role=role))

    def deposed(self, role: str) -> None:
        log.info("no longer the %s", role, extra=fields(role=role))

    def pruned(self, count: int) -> None:
        self.counts["pruned"] += count
        log.debug("pruned %d ended jobs", count, extra=fields(count=count))

    def trouble(self, part: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        text = one_line(error)
        log.error("%s cannot work: %s; trying again until it can", part, text, extra=fields(part=part, error=text))
        _in_full(error)

    def crashed(self, part: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        log.error("%s failed unexpectedly; trying again", part, exc_info=error, extra=fields(part=part))

    def broken(self, name: str, id: str, error: BaseException) -> None:
        self.counts["trouble"] += 1
        log.error("run failed unexpectedly: %s %s", name, id, exc_info=error, extra=fields(job=name, job_id=id))

    def healed(self, part: str, seconds: float) -> None:
        log.info("%s works again after %.1f s", part, seconds, extra=fields(part=part, seconds=seconds))

    def blocked(self, seconds: float, jobs: str, stack: str) -> None:
        self.counts["blocked"] += 1
        log.warning(
            "event loop blocked for %.1f s by %s; its leases are kept; it stands at %s",
            seconds, jobs, innermost(stack),
            extra=fields(seconds=seconds, by=jobs, stack=stack),
        )  # fmt: skip

    def unknown_work(self, names: str) -> None:
        log.warning("ready jobs that this worker does not know are left to others: %s", names, extra=fields(jobs=names))

    def adopted(self, name: str, queue: str, into: str) -> None:
        log.warning(
            "jobs %s wait in the queue %s, to which they are no longer sent: they run in the slots of %s",
            name, queue, into,
            extra=fields(job=name, queue=queue, into=into),
        )  # fmt: skip

    def undecodable(self, name: str, id: str, error: BaseException) -> None:
        self.counts["undecodable"] += 1
        text = one_line(error)
        log.error(
            "payload cannot be read, job set aside: %s %s: %s", name, id, text,
            extra=fields(job=name, job_id=id, error=text),
        )  # fmt: skip

    def declared(self, names: str) -> None:
        log.info("subscriptions entered or changed: %s", names, extra=fields(subscriptions=names))

    def vanished(self, name: str, deliveries: int) -> None:
        log.warning(
            "subscription %s is no longer declared, and %d of its deliveries wait: "
            "bring its handler back, or run `remit subscriptions retire %s`", name, deliveries, name,
            extra=fields(subscription=name, deliveries=deliveries),
        )  # fmt: skip

    def duplicates(self, name: str, previous: str) -> None:
        log.warning(
            "subscriptions %s and %s stand for one handler, which gets each event from both: "
            "run `remit subscriptions retire %s`", name, previous, previous,
            extra=fields(subscription=name, former=previous),
        )  # fmt: skip

    def outdated(self, name: str, present: str, revision: int) -> None:
        log.warning(
            "the store holds another declaration of %s (there %s, revision %d) than this worker's, and it is the one "
            "in force: after a roll-back run `remit migrate` of this release, which puts this one through",
            name, present, revision,
            extra=fields(subscription=name, revision=revision),
        )  # fmt: skip

    def unknown_event(self, name: str, version: int, count: int) -> None:
        log.warning(
            "events wait for a release that declares them: %s v%d (%d): "
            "start a worker of that release, or run `remit migrate` with it",
            name, version, count,
            extra=fields(event=name, version=version, count=count),
        )  # fmt: skip

    def fills(self, name: str) -> None:
        log.warning("back-fill of %s stood still, this worker goes on with it", name, extra=fields(subscription=name))

    def filled(self, name: str, deliveries: int) -> None:
        log.info(
            "back-fill ended: %s: %d deliveries were made since this worker took it over",
            name, deliveries,
            extra=fields(subscription=name, count=deliveries),
        )  # fmt: skip

    def not_filled(self, name: str, event: str, id: str, error: str) -> None:
        text = one_line(error)
        log.error(
            "event not delivered by a back-fill, the store refuses it: %s: %s %s: %s",
            name, event, id, text,
            extra=fields(subscription=name, event=event, event_id=id, error=text),
        )  # fmt: skip

    def event_failed(self, name: str, id: str, attempt: int, error: str, retry_in: float) -> None:
        self.counts["event_failed"] += 1
        text = one_line(error)
        log.warning(
            "event not dispatched, retry in %.1f s: %s %s, attempt %d: %s", retry_in, name, id, attempt, text,
            extra=fields(event=name, event_id=id, attempt=attempt, retry_in=retry_in, error=text),
        )  # fmt: skip
        _in_full(error)

    def event_dead(self, name: str, id: str, error: str) -> None:
        self.counts["event_dead"] += 1
        text = one_line(error)
        log.error(
            "event dead, no subscription gets it: %s %s: %s", name, id, text,
            extra=fields(event=name, event_id=id, error=text),
        )  # fmt: skip
        _in_full(error)

    def purged(self, count: int) -> None:
        self.counts["purged"] += count
        log.debug("purged %d events", count, extra=fields(count=count))

    def rail_refused(self, name: str, id: str, error: BaseException) -> None:
        self.counts["rail_refused"] += 1
        text = one_line(error)
        log.error(
            "event lost, the store refuses it and takes others: %s %s: %s", name, id, text,
            extra=fields(event=name, event_id=id, error=text),
        )  # fmt: skip
        _in_full(error)

    def rail_lost(self, events: Counter[str], seconds: float) -> None:
        self.counts["rail_lost"] += events.total()
        names = ", ".join(f"{count} {name}" for name, count in events.most_common())
        log.error(
            "%d events lost, the store took none of them in the last %.1f s of the direct rail: %s",
            events.total(), seconds, names,
            extra=fields(count=events.total(), seconds=seconds, events=names),
        )  # fmt: skip


_FRAME = re.compile(r'File "(.+)", line (\d+), in (.+)')


def innermost(stack: str) -> str:
    """The last frame of a stack, in a few words: `shop/handlers.py:12 in sync_invoice`."""
    frames = _FRAME.findall(stack)
    if not frames:
        return "an unknown place"
    file, line, function = frames[-1]
    return f"{file}:{line} in {function}"


class Refusals:
    """Messages that domains tried to send and may not, counted by (domain, message)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(self, domain: str, message: str, kind: str) -> None:
        self.counts[domain, message] += 1
        log.warning(
            "refused: %s tried to send the %s %s, which it does not own", domain, kind, message,
            extra=fields(domain=domain, kind=kind, message=message),
        )  # fmt: skip


class SupervisorTelemetry:
    """Logs what a supervisor of worker processes does. `name` is a process, with its number and pid."""

    def ended_badly(self, name: str, cause: str) -> None:
        supervisor_log.error("%s ended badly: %s", name, cause)

    def never_ready(self, name: str, cause: str) -> None:
        supervisor_log.error("%s, the first, ended before it was ready: %s", name, cause)

    def died(self, name: str, cause: str) -> None:
        supervisor_log.error("%s died: %s; it is started again", name, cause)

    def died_quickly(self, name: str, cause: str, lived: float, longest_pause: float) -> None:
        supervisor_log.error(
            "%s died after %.1f s, as the one before it: %s; it is started again whenever it dies, after pauses "
            "that grow to %.0f s, and nothing more is said until it stays up",
            name, lived, cause, longest_pause,
        )  # fmt: skip

    def died_again(self, name: str, cause: str) -> None:
        supervisor_log.debug("%s died again: %s", name, cause)

    def stays_up(self, number: int, seconds: float) -> None:
        supervisor_log.info("worker process %d has stayed up for %.0f s", number, seconds)

    def stopping(self, signal: str, how: str, running: int) -> None:
        plural = "es" if running != 1 else ""
        supervisor_log.info("%s: %s %d worker process%s", signal, how, running, plural)


class WakeupTelemetry:
    """Logs whether a sleeping worker can be notified."""

    def polls(self, error: BaseException) -> None:
        wakeup_log.warning("cannot listen for new jobs, looking for them instead: %s", one_line(error))

    def listens_again(self) -> None:
        wakeup_log.info("listening for new jobs again")
