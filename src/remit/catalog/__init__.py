"""Declarations: domains, queues, jobs, names and policies. Plain values without I/O."""

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
from remit.catalog.builtin import JobDied
from remit.catalog.calls import EnqueueOptions, EnqueueRequest, prepare, spec_of
from remit.catalog.contexts import ContextFactory
from remit.catalog.dispatch import Binding, check_owner
from remit.catalog.domains import Domain
from remit.catalog.events import Event
from remit.catalog.faces import SyncFace
from remit.catalog.handlers import Handler, Mode
from remit.catalog.hooks import Hook, RunHook, examine_hook
from remit.catalog.hops import MAX_HOPS, event_hops, hop_limit, job_hops
from remit.catalog.ids import AnyId, id_text
from remit.catalog.later import kind_of, later_message
from remit.catalog.messages import Job
from remit.catalog.names import delivery_line, line
from remit.catalog.origins import Envelope, Origin, current_origin, traceparent
from remit.catalog.policies import Defaults, Keep, LogRetention, Outbox, Policy, Rail, Retention, Retry, resolve, stated
from remit.catalog.ports import Directory, EventRef, JobRef, Publisher, Scheduler, Sender, running_domain
from remit.catalog.publishing import PublishOptions, PublishRequest, event_spec_of, prepare_event, scope_text
from remit.catalog.quantities import Duration
from remit.catalog.recorder import Recorded, Recorder, on_use, recorded_by, recorded_for
from remit.catalog.registry import Catalog, Line, Work
from remit.catalog.run import Run, RunTransaction, SyncRun, SyncRunTransaction
from remit.catalog.specs import D, DomainSpec, EventSpec, JobSpec, Message, MessageSpec, Owner, Queue, Subscription
from remit.catalog.subscriptions import Where

__all__ = [
    # declaring
    "Domain",
    "Job",
    "Event",
    "Message",
    "D",
    "Queue",
    "Retry",
    "Keep",
    "Defaults",
    "Outbox",
    "Rail",
    "Backoff",
    "DeclaredBackoff",
    "Exponential",
    "Fixed",
    "exponential",
    "fixed",
    "Duration",
    "Mode",
    "Recorder",
    "Where",
    # handling
    "Envelope",
    "JobDied",
    "Run",
    "RunHook",
    "RunTransaction",
    "SyncRun",
    "SyncRunTransaction",
    # sending
    "AnyId",
    "EnqueueOptions",
    "EventRef",
    "JobRef",
    "PublishOptions",
    "Publisher",
    "Scheduler",
    "SyncFace",
    # for the layers above
    "Binding",
    "Catalog",
    "ContextFactory",
    "Directory",
    "DomainSpec",
    "EnqueueRequest",
    "EventSpec",
    "Handler",
    "Hook",
    "JobSpec",
    "Line",
    "LogRetention",
    "MAX_HOPS",
    "MessageSpec",
    "Origin",
    "Owner",
    "Policy",
    "PublishRequest",
    "Recorded",
    "Retention",
    "Sender",
    "Subscription",
    "Work",
    "check_owner",
    "current_origin",
    "delivery_line",
    "kind_of",
    "later_message",
    "event_hops",
    "event_spec_of",
    "examine_hook",
    "hop_limit",
    "id_text",
    "job_hops",
    "line",
    "on_use",
    "parse_backoff",
    "prepare",
    "prepare_event",
    "recorded_by",
    "recorded_for",
    "resolve",
    "retry_delay",
    "running_domain",
    "scope_text",
    "spec_of",
    "stated",
    "traceparent",
]
