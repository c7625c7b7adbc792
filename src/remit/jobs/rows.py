"""A request as the store's statements take it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from remit.catalog import EnqueueRequest, kind_of, line
from remit.codec import ENCODING
from remit.jobs.model import micros

NOT_SAID: dict[str, None] = dict.fromkeys(
    [
        "lane", "run_at", "delay", "expires_at", "expires", "backoff", "timeout", "keep", "correlation", "causation",
        "hops", "scope", "traceparent", "label", "requested_by", "attachment",
    ]
)  # fmt: skip
"""What a row may leave out.

With an id of the caller's own a row has `kinds` too, which no statement reads: what the message under this id may be
where it is stored already. See `check_ids` in `remit.jobs.operations`.
"""


def row(request: EnqueueRequest, id: str, *, hops: int = 0, **origin: str | None) -> dict[str, Any]:
    """One job, ready to be written; what was not said is left out. `hops` is its depth, `origin` are correlation,
    causation and trace.
    """
    spec = request.spec
    queue = spec.queue
    job: dict[str, Any] = {
        "id": id,
        "line": line(queue.name, spec.name, spec.version),
        "version": spec.version,
        "priority": request.priority,
        "attempts": request.attempts,
        "domain": spec.domain.__remit__.name,
        "queue": queue.name,
        "name": spec.name,
        "encoding": ENCODING,
        "payload": request.payload,
    }
    if queue.lifo:  # the newest first: a lane of its own, which sorts before all that came earlier
        job["lane"] = -(time.time_ns() // 1000)
    optional: dict[str, object] = {
        "run_at": None if request.at is None else micros(request.at),
        "delay": request.delay or None,
        "backoff": request.backoff,
        "timeout": request.timeout,
        "keep": request.keep,
        "label": request.label,
        "requested_by": request.requested_by,
        "attachment": request.attachment,
        "hops": hops or None,
        "scope": request.scope,
        **origin,
    }
    if isinstance(request.expires, datetime):
        optional["expires_at"] = micros(request.expires)
    else:
        optional["expires"] = request.expires  # seconds after it is due; the store knows when that is
    if request.id is not None:
        job["kinds"] = [kind_of(each, request.payload) for each in spec.names]
    job.update((name, value) for name, value in optional.items() if value is not None)
    return job
