"""Where a message comes from: which run sends it, in which chain of causes, and in which trace."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgspec import Struct


class Origin(Struct, frozen=True):
    """What a message inherits from the run that sends it. `causation` is the id of its job, `job` the name of that.

    `hops` is the depth of the run, see `remit.catalog.hops`; `envelope` what came with the event, if it is a delivery.
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
    """What travels with an event, beside its payload.

    `id` is the same from the outbox to every subscriber. `type` is the name under which it was published, `domain` its
    publisher. `occurred_at` is when it happened, `published_at` when it was written, both aware and in UTC.
    `correlation` is shared by all that follows from one cause, `causation` the job whose run published it, and
    `traceparent` the W3C trace context; each is None where nobody said. `scope` are the tenant keys that it carries.
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
    """The W3C trace context of what runs here: OpenTelemetry's, where the application uses it, or the run's own."""
    if api := sys.modules.get("opentelemetry.trace"):
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
    origin = current_origin.get()
    return origin.traceparent if origin else None
