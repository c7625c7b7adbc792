"""Events that remit itself publishes."""

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
    """A job or a delivery is dead: written in the commit that made it dead, so none is missed.

    `job` is its id, `name` its name (the subscription's, for a delivery), `domain` its owner. `failures` of its
    `attempts` are used up. `label` is the label given by the call, `payload` the job's own, as JSON text. For a
    delivery, `event` is the id of its event, which holds the payload. A dead delivery of a `JobDied` publishes none. A
    job that a subscriber enqueues is a job like any other, and its death is published.
    """

    job: str
    name: str
    domain: str
    queue: str
    attempts: int
    failures: int
    reason: str
    event: str | None = None
    label: str | None = None
    payload: str | None = None
