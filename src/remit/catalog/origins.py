"""The origin of a message: the run that sends it, its chain of causes, and its trace."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgspec import Struct


class Origin(Struct, frozen=True):
    """The values that a message inherits from its run. `causation` is the id of the run's job, `job` that job's name.

    `hops` is the depth of the run, see `remit.catalog.hops`; `envelope` that of the event, if the run is a delivery.
    """

    correlation: str
    causation: str
    traceparent: str | None = None
    job: str = ""
    attempt: int = 0
    hops: int = 0
    envelope: str | None = None


current_origin: Final[ContextVar[Origin | None]] = ContextVar("remit_origin", default=None)
"""The run whose handler runs here. The executor sets it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The metadata of an event, beside its payload.

    `id` is the same from the outbox to every subscriber. `type` is the name under which it was published, `domain` its
    publisher. `occurred_at` is when it happened, `published_at` when it was written, both aware and in UTC.
    `correlation` is shared by all jobs and events that follow from one cause, `causation` the job whose run published
    it, and `traceparent` the W3C trace context; each is None if it was not set. `scope` are the tenant keys of the
    event.
    """

    id: str
    type: str
    version: int
    domain: str
    occurred_at: datetime
    published_at: datetime
    scope: dict[str, Any]
    correlation: str | None
    causation: str | None
    traceparent: str | None


def traceparent() -> str | None:
    """The current W3C trace context: OpenTelemetry's, if the application uses it, or the run's own."""
    if api := sys.modules.get("opentelemetry.trace"):
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
    origin = current_origin.get()
    return origin.traceparent if origin else None
