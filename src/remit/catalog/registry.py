"""All domains of one application, checked together, and the ways to find a job in them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from remit.catalog.domains import Domain
from remit.catalog.names import line
from remit.catalog.policies import Defaults, Policy, resolve
from remit.catalog.specs import DomainSpec, JobSpec, Queue
from remit.errors import CatalogError, DuplicateName, MissingHandler, UnknownJob, nearest


@dataclass(frozen=True, slots=True)
class Line:
    """What stored jobs of one queue, name and version are executed as. `number` is `names.line` of the three."""

    number: int
    queue: Queue[Any]
    name: str
    version: int
    spec: JobSpec


class Catalog:
    """Everything that an application knows: its domains, their queues and their jobs.

    `domains` are instances; `defaults` are what the application says about all their jobs. Modules that are imported
    later (handlers, above all) may declare more, which the catalog takes in when it is asked.

    Raises `DuplicateName` where two domains claim a name, and `CatalogError` for a field whose type does not exist.
    """

    def __init__(self, domains: Iterable[Domain[Any]], defaults: Defaults | None = None) -> None:
        self.domains = tuple(domains)
        self.defaults = defaults or Defaults()
        self._policies: dict[JobSpec | Queue[Any], Policy] = {}
        self._names: dict[str, JobSpec] = {}
        _check_domains(self.domains)
        self.refresh()

    def refresh(self) -> None:
        """Take in what was declared since. Raises as the constructor does."""
        names: dict[str, JobSpec] = {}
        for domain in self.domains:
            for name, spec in domain.__remit__.jobs.items():
                if other := names.get(name):
                    raise DuplicateName(
                        f"{spec.path} and {other.path} are both named {name!r}; give one of them another name=."
                    )
                names[name] = spec
                spec.resolve()
        self._names = names

    @property
    def specs(self) -> list[JobSpec]:
        """All jobs, each once, domain by domain."""
        return list(dict.fromkeys(self._current().values()))

    @property
    def queues(self) -> dict[str, Queue[Any]]:
        """All queues by their whole names: the declared ones, and the default queue of a domain that uses it."""
        declared = [queue for domain in self.domains for queue in domain.__remit__.queues.values()]
        return {queue.name: queue for queue in (*declared, *(spec.queue for spec in self.specs))}

    @property
    def lines(self) -> dict[int, Line]:
        """All lines that a worker of this application can run, by their numbers."""
        known = (
            Line(line(spec.queue.name, name, spec.version), spec.queue, name, spec.version, spec)
            for spec in self.specs
            for name in spec.names
        )
        return {each.number: each for each in known}

    def by_name(self, name: str) -> JobSpec:
        """Find a job by its whole name or an alias. Raises `UnknownJob`, naming the nearest."""
        names = self._current()
        if spec := names.get(name):
            return spec
        raise UnknownJob(f"No domain of this application has a job {name!r}.{nearest(name, names)}")

    def policy(self, spec: JobSpec) -> Policy:
        """Give the policy of a job: job over queue over domain over application over remit's own defaults."""
        found = self._policies.get(spec)
        if found is None:
            found = self._policies[spec] = spec.policy(self.defaults)
        return found

    @property
    def application_policy(self) -> Policy:
        """Give what holds where no domain says otherwise."""
        return resolve(self.defaults)

    def queue_policy(self, queue: Queue[Any]) -> Policy:
        """Give what holds for a queue as a whole, such as how many ended jobs it keeps."""
        found = self._policies.get(queue)
        if found is None:
            levels = (queue.defaults, queue.domain.__remit__.defaults, self.defaults)
            found = self._policies[queue] = resolve(*levels)
        return found

    def load_handlers(self) -> None:
        """Import the handlers of every domain that owns jobs, and check that none is missing.

        A module that does not exist is fine as long as the handlers are registered elsewhere; whatever importing it
        raises is passed on. Raises `CatalogError` for a stated module that does not exist, and `MissingHandler`.
        """
        for domain in self.domains:
            if domain.__remit__.jobs:
                _import_handlers(domain.__remit__)
        self.refresh()
        self.check_handlers()

    def missing_handlers(self) -> list[JobSpec]:
        """List the jobs that nobody handles, as far as was imported."""
        return [spec for spec in self.specs if spec not in spec.domain.__remit__.handlers]

    def check_handlers(self) -> None:
        """Raise `MissingHandler`, naming all jobs without a handler, and the remedy."""
        missing = self.missing_handlers()
        if not missing:
            return
        modules = sorted({spec.domain.__remit__.handlers_module for spec in missing})
        raise MissingHandler(
            f"No handler for {', '.join(spec.name for spec in missing)}. Write `@<domain>.handles(<Job>)` in "
            f"{', '.join(modules)}, or name the module that does with handlers= on the domain."
        )

    def _current(self) -> Mapping[str, JobSpec]:
        """Give the names, taken in anew if a domain has declared something since."""
        if sum(len(domain.__remit__.jobs) for domain in self.domains) != len(self._names):
            self.refresh()
        return self._names


def _check_domains(domains: Iterable[object]) -> None:
    names: dict[str, DomainSpec] = {}
    for domain in domains:
        if not isinstance(domain, Domain):
            raise CatalogError(f"domains= takes instances, as in `billing = Billing()`, not {domain!r}.")
        spec: DomainSpec = domain.__remit__
        if other := names.get(spec.name):
            raise DuplicateName(f"{spec.path} and {other.path} are both named {spec.name!r}; give one of them a name=.")
        names[spec.name] = spec


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
            f"{domain.name} says that its handlers are in {domain.handlers_module!r}, which does not exist; correct "
            "handlers= on the domain."
        )
