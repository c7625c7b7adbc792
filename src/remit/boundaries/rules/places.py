"""The places of handlers and messages: foreign-registrar, misplaced-message, unloaded-handler, missing-handler."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from remit.boundaries.model import Model, place_in
from remit.boundaries.sites import Registration
from remit.boundaries.sources import OWN
from remit.boundaries.violations import Violation
from remit.catalog import DomainSpec, Handler


def foreign_registrar(model: Model) -> Iterator[Violation]:
    """Handlers and subscriptions are registered in the package of their domain, or in its stated module."""
    for site in model.sites:
        if isinstance(site, Registration) and not _may_register(model, site.source.module, site.domain):
            yield _violation(site.source.file, site.line, site.domain, site.source.module, site.what)
    for domain in model.domains:
        for name, handler in _handlers(domain):
            module = handler.path.partition(":")[0]
            if module not in model.sources.modules and not _may_register(model, module, domain):
                place = place_in(handler.place)
                yield _violation(place.file, place.line, domain, module, f"the handler of {name}")


def misplaced_message(model: Model) -> Iterator[Violation]:
    """A message is declared in the package of the domain that owns it."""
    for spec in model.messages:
        owner, module = spec.domain.__remit__, spec.message.__module__
        if model.belongs(module, owner):
            continue
        place = model.place_of(spec)
        yield Violation(
            "misplaced-message",
            place.file,
            place.line,
            owner.name,
            spec.name,
            f"{spec.message.__qualname__} belongs to {owner.name}, and {module} is outside {owner.package}",
            f"Move the class into {owner.package}; if it was sent from there, publish an event instead.",
        )


def unloaded_handler(model: Model) -> Iterator[Violation]:
    """A registration in a module that is never imported does not exist: workers do not see it."""
    for site in _unloaded(model):
        module, domain = site.source.module, site.domain
        yield Violation(
            "unloaded-handler",
            site.source.file,
            site.line,
            domain.name,
            f"{module} registers {site.what}",
            f"{module} registers {site.what} with {domain.name}, and no worker imports {module}",
            f"Import it in {domain.handlers_module}, which workers import, or name a module that imports it with "
            "handlers= on the domain.",
        )


def _unloaded(model: Model) -> Iterator[Registration]:
    domains = set(model.domains)
    for site in model.sites:
        if isinstance(site, Registration) and site.domain in domains and site.source.module not in sys.modules:
            yield site


def missing_handler(model: Model) -> Iterator[Violation]:
    """Every job has a handler; without one, a worker would refuse to start."""
    unloaded = {site.spec for site in _unloaded(model)}
    for spec in model.catalog.missing_handlers():
        if spec in unloaded:
            continue  # it has one, which is reported
        owner, place = spec.domain.__remit__, model.place_of(spec)
        yield Violation(
            "missing-handler",
            place.file,
            place.line,
            owner.name,
            spec.name,
            f"{spec.name} has no handler",
            f"Write @{owner.name.replace('-', '_')}.handles({spec.message.__qualname__}) in {owner.handlers_module}, "
            "name the module that does with handlers= on the domain, or remove the job.",
        )


def _may_register(model: Model, module: str, domain: DomainSpec) -> bool:
    stated = domain.handlers_stated and f"{module}.".startswith(f"{domain.handlers_module}.")
    return stated or f"{module}.".startswith(f"{OWN}.") or model.belongs(module, domain)


def _handlers(domain: DomainSpec) -> Iterator[tuple[str, Handler]]:
    for spec, handler in domain.handlers.items():
        yield spec.name, handler
    for subscription in domain.subscriptions.all:
        yield subscription.name, subscription.handler


def _violation(file: str, line: int, domain: DomainSpec, module: str, what: str) -> Violation:
    return Violation(
        "foreign-registrar",
        file,
        line,
        domain.name,
        f"{module} registers {what}",
        f"{module} registers {what} with {domain.name}, and is outside {domain.package}",
        f"Register it in {domain.handlers_module}, or in a module that it imports; or name another registrar with "
        "handlers= on the domain.",
    )
