"""Records as JSON documents: names and shapes that programs may rely on. Times are ISO 8601, in UTC."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from remit.client import QueueRecord
from remit.jobs.model import FailureRecord, JobRecord, LogRecord
from remit.runtime.operations import LeaderRecord, WorkerRecord


def stamp(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _parsed(text: str | None) -> Any:
    """The value of a stored JSON text; nothing where it is none, for the text itself stands beside it."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def job(record: JobRecord) -> dict[str, Any]:
    """A job as lists show it."""
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
        "reason": record.reason,
        "payload": _parsed(record.payload_text),
        "result": _parsed(record.result_text),
    }


def whole_job(record: JobRecord) -> dict[str, Any]:
    """A job with everything that is known about it; `payload_text` is byte for byte what was sent."""
    return job(record) | {
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


def queue(record: QueueRecord) -> dict[str, Any]:
    return {
        "queue": record.name,
        "ready": record.ready,
        "oldest_ready_seconds": record.oldest_ready,
        "scheduled": record.scheduled,
        "running": record.running,
        "longest_run_seconds": record.longest_run,
        "dead": record.dead,
        "completed_per_second": record.rate,
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
