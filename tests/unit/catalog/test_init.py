"""The public names of the catalog."""

from __future__ import annotations

import subprocess
import sys

import remit
from remit import catalog


def test_what_is_exported_exists_and_is_named_once() -> None:
    assert len(catalog.__all__) == len(set(catalog.__all__))
    assert all(hasattr(catalog, name) for name in catalog.__all__)


def test_the_exports_are_these() -> None:
    assert set(catalog.__all__) == {
        "Backoff",
        "Binding",
        "Catalog",
        "ContextFactory",
        "D",
        "DeclaredBackoff",
        "Defaults",
        "Directory",
        "Domain",
        "DomainSpec",
        "Duration",
        "EnqueueOptions",
        "EnqueueRequest",
        "Envelope",
        "Event",
        "EventRef",
        "EventSpec",
        "Exponential",
        "Fixed",
        "Handler",
        "Hook",
        "Job",
        "JobDied",
        "JobRef",
        "JobSpec",
        "Keep",
        "Line",
        "Message",
        "LogRetention",
        "MessageSpec",
        "Mode",
        "Origin",
        "Outbox",
        "Owner",
        "Policy",
        "PublishOptions",
        "PublishRequest",
        "Publisher",
        "Queue",
        "Rail",
        "Recorded",
        "Recorder",
        "Retention",
        "Retry",
        "Run",
        "RunHook",
        "RunTransaction",
        "Scheduler",
        "Sender",
        "Subscription",
        "SyncFace",
        "SyncRun",
        "SyncRunTransaction",
        "Where",
        "Work",
        "check_owner",
        "current_origin",
        "delivery_line",
        "kind_of",
        "later_message",
        "event_spec_of",
        "examine_hook",
        "exponential",
        "fixed",
        "line",
        "AnyId",
        "id_text",
        "MAX_HOPS",
        "event_hops",
        "hop_limit",
        "job_hops",
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
    }


def test_every_exported_class_and_function_says_what_it_promises() -> None:
    documented = [getattr(catalog, name) for name in catalog.__all__]
    assert all(each.__doc__ for each in documented if getattr(each, "__module__", "").startswith("remit."))


def test_declaring_is_cheap_to_import() -> None:
    """The catalog alone, without what its parent package exports."""
    parent = f"parent = sys.modules['remit'] = types.ModuleType('remit'); parent.__path__ = {list(remit.__path__)!r}"
    code = f"import sys, types; {parent}; import remit.catalog; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "remit.catalog.registry" in loaded
    assert not {"asyncio", "sqlite3", "psycopg", "pydantic", "ssl", "concurrent.futures"} & set(loaded)
