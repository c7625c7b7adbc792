"""One check: the model is built, every rule reads it, and declared exceptions are removed."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from remit.boundaries.declared import Boundaries, Exempt, check_rule
from remit.boundaries.model import Model, build
from remit.boundaries.patterns import covers
from remit.boundaries.rules.cycles import domain_cycle
from remit.boundaries.rules.dispatching import inline_handler
from remit.boundaries.rules.engines import engine_import
from remit.boundaries.rules.facts import not_a_fact
from remit.boundaries.rules.internals import foreign_internals, layer_order, undeclared_dependency
from remit.boundaries.rules.loops import event_loop
from remit.boundaries.rules.ownership import foreign_enqueue, foreign_publish, unknown_job
from remit.boundaries.rules.payloads import entity_in_payload, missing_scope
from remit.boundaries.rules.places import foreign_registrar, misplaced_message, missing_handler, unloaded_handler
from remit.boundaries.rules.traffic import unheard_event, unpublished_event
from remit.boundaries.sources import Unread
from remit.boundaries.violations import Violation, in_order
from remit.catalog import Catalog
from remit.errors import InvalidArgument, MissingHandler, nearest

Finder: TypeAlias = Callable[[Model], Iterable[Violation]]
"""A rule: it reads the model and yields its violations. `check(finders=…)` takes further rules, for instance one that
queries the store."""

FINDERS: Final[tuple[Finder, ...]] = (
    foreign_internals,
    undeclared_dependency,
    layer_order,
    domain_cycle,
    engine_import,
    foreign_enqueue,
    foreign_publish,
    unknown_job,
    unpublished_event,
    unheard_event,
    event_loop,
    not_a_fact,
    missing_scope,
    entity_in_payload,
    inline_handler,
    unloaded_handler,
    missing_handler,
    foreign_registrar,
    misplaced_message,
)


class Application(Protocol):
    """The interface of an application for a check."""

    @property
    def catalog(self) -> Catalog:
        """Its declarations."""
        ...

    @property
    def boundaries(self) -> Boundaries | None:
        """Its declared boundaries."""
        ...


@dataclass(frozen=True)
class Report:
    """All violations, in the order of files and lines, and the number of modules that were checked.

    `unread` are Python files that were not checked although `ignore=` does not name them, each with the reason.
    """

    violations: tuple[Violation, ...]
    domains: int
    modules: int
    unread: tuple[Unread, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The number of violations of each violated rule."""
        return dict(Counter(each.rule for each in self.violations).most_common())

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "violations": [each.document() for each in self.violations],
            "counts": self.counts,
            "checked": {"domains": self.domains, "modules": self.modules},
            "unread": [{"file": each.file, "why": each.why} for each in self.unread],
        }


def check(
    app: Application,
    *,
    finders: Iterable[Finder] = (),
    rules: Iterable[str] = (),
    domains: Iterable[str] = (),
    cache: Path | None = None,
) -> Report:
    """Check the boundaries of an application: all violations at once.

    The handlers of all domains are imported; no database is used. `finders` are called beside remit's own rules.
    `rules` and `domains` restrict the report. `cache` is a folder that keeps results for the next check; by default no
    file is written. Raises `ConfigurationError` for names in `Boundaries` or `rules` that do not exist and for a file
    that Python cannot parse, `InvalidArgument` for a domain that does not exist, and errors of the import of the
    handlers.

        for violation in check(app).violations:
            print(violation.place, violation.message)
    """
    wanted, owners = frozenset(rules), frozenset(domains)
    for rule in wanted:
        check_rule(rule)
    known = {domain.name for domain in app.catalog.domains}
    for name in owners - known:
        raise InvalidArgument(f"the application has no domain {name!r}.{nearest(name, known)}")
    boundaries = app.boundaries or Boundaries()
    _load(app.catalog)
    with _collector_paused():
        model = build(app.catalog, boundaries, cache)
        found = [violation for finder in (*FINDERS, *finders) for violation in finder(model)]
    kept = [each for each in _without_exceptions(found, model) if each.rule not in set(boundaries.off)]
    kept = [each for each in kept if (not wanted or each.rule in wanted) and (not owners or each.domain in owners)]
    return Report(tuple(sorted(kept, key=in_order)), len(model.domains), len(model.modules), model.sources.unread)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Syntax trees are many objects without cycles: the cycle collector would take most of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _load(catalog: Catalog) -> None:
    try:
        catalog.load_handlers()
    except MissingHandler:
        pass  # every handler module is imported by then; the rule of that name reports it


def _without_exceptions(found: list[Violation], model: Model) -> Iterator[Violation]:
    """Remove declared exceptions, and report unused declarations."""
    exempt: Any = model.boundaries.exempt
    used: set[Exempt] = set()
    for violation in found:
        matching = [each for each in exempt if _covers(each, violation)]
        used.update(matching)
        if not matching:
            yield violation
    for each in exempt:
        if each not in used and each.rule not in set(model.boundaries.off):
            yield _stale(model, f'Exempt("{each.rule}", "{each.subject}")', "", "there is no such violation")
    allow: Any = model.boundaries.allow
    for each in allow:
        if not any(
            crossing.user.name == each.domain
            and (each.uses == crossing.owner.name or covers(each.uses, crossing.imported))
            for crossing in model.crossings
        ):
            yield _stale(model, f'Allow("{each.domain}", "{each.uses}")', each.domain, "there is no such import")


def _covers(exempt: Exempt, violation: Violation) -> bool:
    return exempt.rule == violation.rule and (
        exempt.subject == violation.subject or fnmatchcase(violation.subject, exempt.subject)
    )


def _stale(model: Model, declared: str, domain: str, why: str) -> Violation:
    return Violation(
        "stale-exception",
        model.root.file,
        model.root.line,
        domain,
        declared,
        f"{declared} is declared, and {why}",
        "Remove it from Boundaries, so that it cannot cover the next one.",
    )
