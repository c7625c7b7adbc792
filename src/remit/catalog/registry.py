"""All domains of one application, checked together, and lookups of their jobs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

from remit.catalog.builtin import JobDied, System
from remit.catalog.domains import Domain
from remit.catalog.handlers import Handler
from remit.catalog.later import later_job
from remit.catalog.names import delivery_line, line
from remit.catalog.policies import Defaults, LogRetention, Outbox, Policy, resolve, stated
from remit.catalog.publishing import scope_text
from remit.catalog.specs import (
    DomainSpec,
    EventSpec,
    JobSpec,
    Message,
    MessageSpec,
    Queue,
    Subscription,
    check_versions,
    twice,
)
from remit.catalog.versions import Versions
from remit.codec import decode
from remit.errors import CatalogError, DuplicateName, InvalidArgument, MissingHandler, UnknownJob, nearest

Spec = TypeVar("Spec", bound=MessageSpec)
Work: TypeAlias = JobSpec | Subscription
"""Work that a worker executes."""


@dataclass(frozen=True, slots=True)
class Line:
    """The kind of the stored jobs of one queue, name and version: a job, or a delivery to a subscription."""

    number: int
    queue: Queue[Any]
    name: str
    version: int
    spec: Work

    @property
    def handler(self) -> Handler:
        """The handler that executes them."""
        if isinstance(self.spec, Subscription):
            return self.spec.handler
        return self.spec.domain.__remit__.handlers[self.spec]


class Catalog:
    """The declarations of an application: its domains, their queues, jobs, events and subscriptions.

    `domains` are instances; `defaults` is the application's policy for all their jobs; `scope` names the keys that
    messages carry; `log` is the retention of the application's events. Modules that are imported later (handlers,
    above all) may declare more, which the catalog adds at the next access.

    Raises `DuplicateName` where two domains claim a name, `CatalogError` for a field whose type does not exist, and
    `InvalidArgument`.
    """

    def __init__(
        self,
        domains: Iterable[Domain[Any]],
        defaults: Defaults | None = None,
        scope: Iterable[str] = (),
        *,
        log: LogRetention | None = None,
    ) -> None:
        self.domains = tuple(domains)
        self.defaults = stated("defaults", defaults, Defaults) or Defaults()
        self.scope_keys = _scope_keys(scope)
        self.log = log or Outbox().resolve()
        self._policies: dict[Work | Queue[Any], Policy] = {}
        self._limits: dict[EventSpec, int] = {}
        self._jobs: Versions[JobSpec] = Versions()
        _check_domains(self.domains)
        self.refresh()

    def refresh(self) -> None:
        """Add declarations made since. Raises as the constructor does."""
        specs = [domain.__remit__ for domain in self.domains]
        for domain in specs:
            if domain.events:
                later_job(domain)
        self._jobs = _gathered(domain.jobs for domain in specs)
        events = _gathered(domain.events for domain in (System.__remit__, *specs))
        for spec in (*self._jobs.all, *events.all):
            spec.resolve()
        self._declared = self._count()

    def _count(self) -> int:
        return sum(len(domain.__remit__.jobs.all) + len(domain.__remit__.events.all) for domain in self.domains)

    @property
    def specs(self) -> list[JobSpec]:
        """All jobs, each once, domain by domain."""
        return self._current().all

    @property
    def events(self) -> list[EventSpec]:
        """All events, each once, domain by domain, and those that remit itself publishes."""
        owners = [*(domain.__remit__ for domain in self.domains), System.__remit__]
        return [spec for owner in owners for spec in owner.events.all]

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions whose handlers were imported, each version once, domain by domain."""
        return [each for domain in self.domains for each in domain.__remit__.subscriptions.all]

    @property
    def queues(self) -> dict[str, Queue[Any]]:
        """All queues by their full names: the declared ones, and the default queue of a domain that uses it."""
        declared = [queue for domain in self.domains for queue in domain.__remit__.queues.values()]
        used = [*(each.queue for each in self.specs), *(each.queue for each in self.subscriptions)]
        return {queue.name: queue for queue in (*declared, *used)}

    @property
    def lines(self) -> dict[int, Line]:
        """All lines that a worker of this application can run, by their numbers."""
        jobs = [
            Line(line(spec.queue.name, name, spec.version), spec.queue, name, spec.version, spec)
            for spec in self.specs
            for name in spec.names
        ]
        deliveries = [
            Line(delivery_line(each.queue.name, name) | each.version, each.queue, name, each.version, each)
            for each in self.subscriptions
            for name in each.names
        ]
        return {each.number: each for each in (*jobs, *deliveries)}

    def by_name(self, name: str, version: int | None = None) -> JobSpec:
        """Find a job by its full name or an alias, the newest version by default.

        Raises `UnknownJob`, naming the nearest name, or the existing versions.
        """
        names = self._current()
        if spec := names.find(name, version):
            return spec
        if versions := names.of(name):
            raise UnknownJob(
                f"The job {name!r} has no version {version!r}; there {'is' if len(versions) == 1 else 'are'} "
                f"{' and '.join(map(str, sorted(versions)))}."
            )
        raise UnknownJob(f"No domain of this application has a job {name!r}.{nearest(name, names)}")

    def called(self, name: str) -> set[str]:
        """Return all names, in any version, of the job or the subscription with that name or alias, and the name.

        Only subscriptions whose handlers were imported are known.
        """
        owners = [domain.__remit__.subscriptions for domain in self.domains]
        return {name, *_names_of(name, self._current()), *(each for one in owners for each in _names_of(name, one))}

    def event_called(self, name: str) -> set[str]:
        """Return all names, in any version, of the event with that name or alias; and the name itself."""
        owners = [System.__remit__.events, *(domain.__remit__.events for domain in self.domains)]
        return {name, *(each for one in owners for each in _names_of(name, one))}

    def policy(self, spec: Work) -> Policy:
        """Return the policy of a job: job over queue over domain over application over remit's own defaults.

        The policy of a subscription applies to its deliveries.
        """
        found = self._policies.get(spec)
        if found is None:
            found = self._policies[spec] = spec.policy(self.defaults)
        return found

    def limit(self, spec: EventSpec) -> int:
        """Return the bytes that the payload of an event may have."""
        found = self._limits.get(spec)
        if found is None:
            found = self._limits[spec] = spec.limit(self.defaults)
        return found

    def keep(self, spec: EventSpec) -> float:
        """Return the seconds that an event stays after its last delivery has ended."""
        return spec.kept(self.log.keep)

    def scope(self, message: Message[Any]) -> str | None:
        """Return the scope keys that a message carries, as JSON text."""
        return scope_text(message, self.scope_keys) if self.scope_keys else None

    @property
    def application_policy(self) -> Policy:
        """Return the policy of jobs whose domain sets none."""
        return resolve(self.defaults)

    def queue_policy(self, queue: Queue[Any]) -> Policy:
        """Return the policy of a queue as a whole, such as the number of ended jobs that it keeps."""
        found = self._policies.get(queue)
        if found is None:
            levels = (queue.defaults, queue.domain.__remit__.defaults, self.defaults)
            found = self._policies[queue] = resolve(*levels)
        return found

    def import_handlers(self) -> None:
        """Import the handlers of every domain, which also declares subscriptions.

        A missing module is not an error if the handlers are registered elsewhere. Errors of the import are passed on.
        Raises `CatalogError` for a missing module that the domain names, and `DuplicateName`.
        """
        for domain in self.domains:
            _import_handlers(domain.__remit__)
        self.refresh()
        self.check_subscriptions()

    def load_handlers(self) -> None:
        """Import the handlers of every domain, and check that no job lacks one. Raises `MissingHandler` too."""
        self.import_handlers()
        self.check_handlers()

    def missing_handlers(self) -> list[JobSpec]:
        """List the jobs without a handler, as far as modules were imported."""
        return [spec for spec in self.specs if spec not in spec.domain.__remit__.handlers]

    def check_handlers(self) -> None:
        """Raise `MissingHandler`, naming all jobs and versions without a handler, and the remedy."""
        self._check_versions_heard()
        missing = self.missing_handlers()
        if not missing:
            return
        modules = sorted({spec.domain.__remit__.handlers_module for spec in missing})
        named = (
            spec.name if len(self._jobs.of(spec.name)) == 1 else f"{spec.name} v{spec.version}" for spec in missing
        )
        raise MissingHandler(
            f"No handler for {', '.join(named)}. Write `@<domain>.handles(<Job>)` in "
            f"{', '.join(modules)}, or name the module that does with handlers= on the domain."
        )

    def _check_versions_heard(self) -> None:
        """Raise `MissingHandler` if a subscription has no handler for a version of its event: deliveries would wait."""
        for each in self.subscriptions:
            events = each.event.domain.__remit__.events
            for event in (found for name in each.event.names for found in events.of(name).values()):
                if each.domain.__remit__.subscriptions.find(each.name, event.version) is None:
                    short = each.name.partition(".")[2]
                    raise MissingHandler(
                        f"The subscription {each.name} has a handler for version {each.version} of {each.event.name}, "
                        f"at {each.handler.place}, and none for version {event.version}, whose deliveries would wait. "
                        f'Add one under the same name, `@<domain>.on({event.message.__qualname__}, name="{short}")`, '
                        f"or remove the class {event.path}."
                    )

    def check_subscriptions(self) -> None:
        """Raise `DuplicateName` if a subscription and a job, or two subscriptions, claim one name.

        Raises `CatalogError` for a hook into the death of a job or subscription that its domain does not have.
        """
        taken: dict[str, Work] = dict(self._jobs)
        for each in self.subscriptions:
            for name in each.names:
                other = taken.setdefault(name, each)
                if isinstance(other, JobSpec):
                    raise DuplicateName(
                        f"the subscription at {each.handler.place} is named {name!r}, as {other.path} is; give it "
                        "another name=."
                    )
                if other is not each:
                    check_versions(name, other, each)

        for each in self.subscriptions:
            _check_hook(each, taken)

    def _current(self) -> Versions[JobSpec]:
        """Return the jobs, updated if a domain has declared something since."""
        if self._count() != self._declared:
            self.refresh()
        return self._jobs


def _check_domains(domains: Iterable[object]) -> None:
    names = {System.__remit__.name: System.__remit__}
    for domain in domains:
        if not isinstance(domain, Domain):
            raise CatalogError(f"domains= takes instances, as in `billing = Billing()`, not {domain!r}.")
        spec: DomainSpec = domain.__remit__
        if other := names.get(spec.name):
            raise DuplicateName(f"{spec.path} and {other.path} are both named {spec.name!r}; give one of them a name=.")
        names[spec.name] = spec


def _check_hook(hook: Subscription, known: Iterable[str]) -> None:
    names = (hook.condition or {}).get("name", ()) if hook.event.message is JobDied else ()
    for name in map(decode, names):
        if name.startswith(f"{hook.domain.__remit__.name}.") and name not in known:
            raise CatalogError(
                f"{hook.name} waits for the death of {name!r}, which is neither a job nor a subscription of "
                f"{hook.domain.__remit__.name}.{nearest(name, known)}"
            )


def _names_of(name: str, declared: Versions[Any]) -> Iterable[str]:
    return (each for one in declared.of(name).values() for each in one.names)


def _gathered(catalogs: Iterable[Versions[Spec]]) -> Versions[Spec]:
    """All in one. Raises `DuplicateName` if two domains claim a name, in whatever version."""
    gathered: Versions[Spec] = Versions()
    for catalog in catalogs:
        for spec in catalog.all:
            for name in spec.names:
                other = gathered.get(name)
                if other is not None and other.domain is not spec.domain:
                    raise twice(name, other, spec)
            gathered.add(spec)
    return gathered


def _scope_keys(scope: Iterable[str]) -> tuple[str, ...]:
    keys = (scope,) if isinstance(scope, str) else tuple(scope)
    for key in keys:
        if not isinstance(key, str) or not key.isidentifier():
            raise InvalidArgument(f"scope takes names of fields, such as 'organization_id', not {key!r}.")
    return keys


def _import_handlers(domain: DomainSpec) -> None:
    try:
        exists = find_spec(domain.handlers_module) is not None
    except ModuleNotFoundError as error:  # of a package on the way, or raised by one while it is imported
        if error.name is None or not f"{domain.handlers_module}.".startswith(f"{error.name}."):
            raise
        exists = False
    except ValueError:  # `__main__` has no spec when it was started as a file
        exists = True
    if exists:
        importlib.import_module(domain.handlers_module)
    elif domain.handlers_stated:
        raise CatalogError(
            f"{domain.name} declares its handlers in {domain.handlers_module!r}, which does not exist; correct "
            "handlers= on the domain."
        )
