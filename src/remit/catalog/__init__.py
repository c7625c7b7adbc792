"""Declarations: domains, queues, jobs, names and policies. Plain values; nothing here reads or writes anything."""

from remit.catalog.backoff import (
    Backoff,
    DeclaredBackoff,
    Exponential,
    Fixed,
    exponential,
    fixed,
    parse_backoff,
    retry_delay,
)
from remit.catalog.calls import EnqueueOptions, EnqueueRequest, prepare, spec_of
from remit.catalog.contexts import ContextFactory
from remit.catalog.dispatch import Binding, check_owner
from remit.catalog.domains import Domain, SyncFace
from remit.catalog.handlers import Handler, Mode
from remit.catalog.messages import Job
from remit.catalog.names import line
from remit.catalog.policies import Defaults, Keep, Policy, Retention, Retry, resolve
from remit.catalog.ports import Directory, JobRef, Scheduler, Sender, running_domain
from remit.catalog.quantities import Duration
from remit.catalog.registry import Catalog, Line
from remit.catalog.run import Run, RunTransaction, SyncRun, SyncRunTransaction
from remit.catalog.specs import D, DomainSpec, JobSpec, Message, Owner, Queue

__all__ = [
    # declaring
    "Domain",
    "Job",
    "Message",
    "D",
    "Queue",
    "Retry",
    "Keep",
    "Defaults",
    "Backoff",
    "DeclaredBackoff",
    "Exponential",
    "Fixed",
    "exponential",
    "fixed",
    "Duration",
    "Mode",
    # handling
    "Run",
    "RunTransaction",
    "SyncRun",
    "SyncRunTransaction",
    # sending
    "EnqueueOptions",
    "JobRef",
    "Scheduler",
    "SyncFace",
    # for the layers above
    "Binding",
    "Catalog",
    "ContextFactory",
    "Directory",
    "DomainSpec",
    "EnqueueRequest",
    "Handler",
    "JobSpec",
    "Line",
    "Owner",
    "Policy",
    "Retention",
    "Sender",
    "check_owner",
    "line",
    "parse_backoff",
    "prepare",
    "resolve",
    "retry_delay",
    "running_domain",
    "spec_of",
]
