"""Background jobs, domain events and durable workflows, in the database that the application already has."""

from typing import TYPE_CHECKING, Any

from remit.catalog import (
    Defaults,
    Domain,
    Envelope,
    Event,
    EventRef,
    Job,
    JobDied,
    JobRef,
    Keep,
    Outbox,
    Publisher,
    Rail,
    Retry,
    Run,
    Scheduler,
    exponential,
    fixed,
)
from remit.jobs.model import JobRecord, Page
from remit.jobs.signals import Cancelled, DeadLetter, RetryAfter, Skip, Snooze
from remit.jobs.states import State
from remit.outbox.model import EventRecord, SubscriptionRecord

if TYPE_CHECKING:
    from remit.app import Remit

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "DeadLetter",
    "Defaults",
    "Domain",
    "Envelope",
    "Event",
    "EventRecord",
    "EventRef",
    "Job",
    "JobDied",
    "JobRecord",
    "JobRef",
    "Keep",
    "Outbox",
    "Page",
    "Publisher",
    "Rail",
    "Remit",
    "Retry",
    "RetryAfter",
    "Run",
    "Scheduler",
    "Skip",
    "Snooze",
    "State",
    "SubscriptionRecord",
    "exponential",
    "fixed",
]


def __getattr__(name: str) -> Any:
    """Import the application when it is asked for: a module that only declares jobs stays cheap to import."""
    if name == "Remit":
        from remit.app import Remit

        return Remit
    raise AttributeError(f"module 'remit' has no attribute {name!r}")
