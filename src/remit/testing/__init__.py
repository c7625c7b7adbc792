"""Tests of applications: fakes for the ports, assertions on sent messages, scenarios with a real worker.

Nothing here is a store of its own: assertions read the real one, and the real runtime runs the handlers. A SQLite file
in memory is the fast engine. The fixtures for pytest are in `remit.testing.plugin`; apart from these, only the contract
in `remit.testing.contract` needs pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remit.boundaries import assert_boundaries
    from remit.testing.applications import Applications
    from remit.testing.databases import Databases, FreshDatabase
    from remit.testing.fakes import Fake, SentEvent, SentJob
    from remit.testing.messages import Found, Messages
    from remit.testing.performing import Performed, deliver, perform
    from remit.testing.scenario import Scenario, SyncScenario
    from remit.testing.watches import Watch, enqueued, nothing_sent, published, watching

__all__ = [
    "Applications",
    "Databases",
    "Fake",
    "Found",
    "FreshDatabase",
    "Messages",
    "Performed",
    "Scenario",
    "SentEvent",
    "SentJob",
    "SyncScenario",
    "Watch",
    "assert_boundaries",
    "deliver",
    "enqueued",
    "nothing_sent",
    "perform",
    "published",
    "watching",
]

_HOMES = {
    "remit.boundaries": ("assert_boundaries",),
    "remit.testing.applications": ("Applications",),
    "remit.testing.databases": ("Databases", "FreshDatabase"),
    "remit.testing.fakes": ("Fake", "SentEvent", "SentJob"),
    "remit.testing.messages": ("Found", "Messages"),
    "remit.testing.performing": ("Performed", "deliver", "perform"),
    "remit.testing.scenario": ("Scenario", "SyncScenario"),
    "remit.testing.watches": ("Watch", "enqueued", "nothing_sent", "published", "watching"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import each name at first use: pytest loads this package in every run, for the plugin."""
    if home := _HOME_OF.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'remit.testing' has no attribute {name!r}")
