"""Records as JSON documents: stable names and shapes for programs. Times are ISO 8601, in UTC."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from remit.client import QueueRecord
from remit.jobs.model import FailureRecord, JobRecord, LogRecord
from remit.outbox.model import DeliveryRecord, EventRecord, OutboxRecord, Retirement, SubscriptionRecord
from remit.runtime.operations import LeaderRecord, WorkerRecord


def stamp(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _parsed(text: str | None) -> Any:
    """The value of a stored JSON text; None if it is not JSON, since the text itself is in the document too."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def job(record: JobRecord) -> dict[str, Any]:
    """A job as in lists."""
    return {
        "id": record.id,
        "state": record.state.value,
        "job": record.name,
        "version": record.version,
        "domain": record.domain,
        "queue": record.queue,
        "priority": record.priority,
        "attempt": record.attempt,
        "attempts": record.attempts,
        "failures": record.failures,
        "timeout": "none" if record.timeout == math.inf else record.timeout,
        "created_at": stamp(record.created_at),
        "run_at": stamp(record.run_at),
        "claimed_at": stamp(record.claimed_at),
        "finished_at": stamp(record.finished_at),
        "expires_at": stamp(record.expires_at),
        "cancel_requested_at": stamp(record.cancel_requested_at),
        "cancelled_by": record.cancelled_by,
        "deleted_at": stamp(record.deleted_at),
        "worker": record.worker,
        "label": record.label,
        "requested_by": _parsed(record.requested_by_text),
        "correlation": record.correlation,
        "causation": record.causation,
        "event": record.event,
        "subscription": record.name if record.event else None,
        "reason": record.reason,
        "last_error": record.last_error,
        "payload": _parsed(record.payload_text),
        "result": _parsed(record.result_text),
    }


def whole_job(record: JobRecord, event: str | None) -> dict[str, Any]:
    """A job with all its data; `payload_text` is the sent text, byte for byte.

    `event` is the name of the event that it delivers.
    """
    return job(record) | {
        "event_name": event,
        "encoding": record.encoding,
        "payload_text": record.payload_text,
        "errors": [_failure(each) for each in record.errors],
        "logs": [_log(each) for each in record.logs],
    }


def _failure(record: FailureRecord) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "at": stamp(record.at),
        "worker": record.worker,
        "kind": record.kind,
        "message": record.message,
        "traceback": record.traceback,
    }


def _log(record: LogRecord) -> dict[str, Any]:
    return {"attempt": record.attempt, "at": stamp(record.at), "level": record.level, "message": record.message}


def event(record: EventRecord) -> dict[str, Any]:
    """An event as in lists; `deliveries` is the number that the relay made, null before it did."""
    return {
        "id": record.id,
        "state": record.state.value,
        "event": record.name,
        "version": record.version,
        "domain": record.domain,
        "occurred_at": stamp(record.occurred_at),
        "published_at": stamp(record.published_at),
        "dispatched_at": stamp(record.dispatched_at),
        "deliveries": record.deliveries,
        "failures": record.attempts,
        "error": record.error,
        "correlation": record.correlation,
        "causation": record.causation,
        "scope": _parsed(record.scope_text),
        "payload": _parsed(record.payload_text),
    }


def whole_event(record: EventRecord) -> dict[str, Any]:
    """An event with each of its deliveries."""
    return event(record) | {
        "encoding": record.encoding,
        "payload_text": record.payload_text,
        "traceparent": record.traceparent,
        "records": [_delivery(each) for each in record.records],
    }


def _delivery(record: DeliveryRecord) -> dict[str, Any]:
    return {
        "subscription": record.subscription,
        "state": record.state,
        "job": record.job,
        "failures": record.failures,
        "finished_at": stamp(record.finished_at),
        "reason": record.reason,
    }


def outbox(record: OutboxRecord) -> dict[str, Any]:
    return {"pending": record.pending, "lag_seconds": record.lag, "dead": record.dead, "unknown": record.unknown}


def conditions(record: SubscriptionRecord) -> dict[int, dict[str, list[Any]]]:
    """The values that each field may have, by version of the event; nothing for a version without a condition."""
    return {
        version: {field: [_parsed(text) for text in texts] for field, texts in fields.items()}
        for version, fields in record.conditions.items()
    }


def subscription(record: SubscriptionRecord) -> dict[str, Any]:
    """A subscription; `declared` is null if it belongs to a domain that this application does not have."""
    return {
        "subscription": record.name,
        "former": list(record.former),
        "domain": record.domain,
        "queue": record.queue,
        "events": list(record.events),
        "where": {str(version): fields for version, fields in conditions(record).items()},
        "ordered_by": record.ordered_by,
        "on_dead": record.on_dead,
        "stale_after_seconds": record.stale_after,
        "attempts": record.attempts,
        "revision": record.revision,
        "created_at": stamp(record.created_at),
        "filling_since": stamp(record.filling_since),
        "retired_at": stamp(record.retired_at),
        "declared": record.declared,
        "vanished": record.vanished,
        "under_way": {
            state: {"count": each.count, "oldest_seconds": each.oldest, "stale": each.stale}
            for state, each in record.under_way.items()
        },
    }


def retirement(record: Retirement) -> dict[str, Any]:
    return {"turns_dropped": record.turns, "cancelled": record.cancelled, "asked_to_stop": record.asked_to_stop}


def queue(record: QueueRecord) -> dict[str, Any]:
    return {
        "queue": record.name,
        "ready": record.ready,
        "oldest_ready_seconds": record.oldest_ready,
        "scheduled": record.scheduled,
        "running": record.running,
        "longest_run_seconds": record.longest_run,
        "dead": record.dead,
        "retrying": record.retrying,
        "completed_per_second": record.rate,
        "failed_per_second": record.failed / record.window,
        "ended": {state.value: number for state, number in record.ended.items()},
        "window_seconds": record.window,
        "paused_at": stamp(record.paused_at),
        "paused_by": record.paused_by,
    }


def worker(record: WorkerRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "host": record.host,
        "pid": record.pid,
        "started_at": stamp(record.started_at),
        "seen_at": stamp(record.seen_at),
        "silent": record.silent,
        "running": record.running,
        "about": record.about,
        "health": record.health,
    }


def leader(record: LeaderRecord) -> dict[str, Any]:
    return {
        "role": record.role,
        "worker": record.holder,
        "elected_at": stamp(record.elected_at),
        "expires_at": stamp(record.expires_at),
    }
