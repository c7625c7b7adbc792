"""Background jobs, domain events and durable workflows, in the database that the application already has."""

from remit.app import Remit
from remit.catalog import (
    Defaults,
    Domain,
    Job,
    JobRef,
    Keep,
    Retry,
    Run,
    Scheduler,
    exponential,
    fixed,
)
from remit.jobs.model import JobRecord, Page
from remit.jobs.signals import DeadLetter, RetryAfter, Skip, Snooze
from remit.jobs.states import State

__version__ = "0.1.0"

__all__ = [
    "DeadLetter",
    "Defaults",
    "Domain",
    "Job",
    "JobRecord",
    "JobRef",
    "Keep",
    "Page",
    "Remit",
    "Retry",
    "RetryAfter",
    "Run",
    "Scheduler",
    "Skip",
    "Snooze",
    "State",
    "exponential",
    "fixed",
]
