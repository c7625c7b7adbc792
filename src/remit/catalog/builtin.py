"""What remit itself publishes."""

from __future__ import annotations

from remit.catalog.events import Event
from remit.catalog.policies import Defaults
from remit.catalog.specs import DomainSpec, Owner


class System(Owner[None]):
    """The owner of remit's own events. No application can publish them."""


System.__remit__ = DomainSpec(
    owner=System,
    name="remit",
    package=__name__,
    handlers_module=__name__,
    handlers_stated=False,
    defaults=Defaults(),
)


class JobDied(Event[System], audit_only=True, unscoped="jobs of every tenant"):
    """A job or a delivery gave up: written in the commit that made it dead, so none is missed.

    `job` is its id, `name` its name (the subscription's, for a delivery), `domain` its owner. `failures` of its
    `attempts` are used up. `event` is the id of the event that a delivery was about. A dead delivery of a `JobDied`
    publishes none, so that a subscriber that fails does not feed itself.
    """

    job: str
    name: str
    domain: str
    queue: str
    attempts: int
    failures: int
    reason: str
    event: str | None = None
