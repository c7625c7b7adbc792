"""What the rules read: declarations, imports and calls of one application, put together; it judges nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from remit.boundaries.declared import Boundaries
from remit.boundaries.names import Names
from remit.boundaries.patterns import SELF, covers, covers_any
from remit.boundaries.sites import Composing, Loading, Site, sites_of
from remit.boundaries.sources import OWN, Source, Sources, read_sources, shown
from remit.catalog import Catalog, DomainSpec, EventSpec, JobSpec, MessageSpec, Subscription

_OWN: Final = f"{OWN}."


@dataclass(frozen=True, slots=True)
class Place:
    """A file as it is shown, and a line."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A module of one domain, `user`, imports a module of another, `owner`.

    `face` says that this is public, `dependency` that it makes the user depend on the owner: hearing events and naming
    messages in handlers does not, so events may flow both ways.
    """

    source: Source
    line: int
    imported: str
    user: DomainSpec
    owner: DomainSpec
    face: bool
    dependency: bool


class Model:
    """One application, as far as its boundaries are concerned."""

    def __init__(self, catalog: Catalog, boundaries: Boundaries, sources: Sources) -> None:
        self.catalog = catalog
        self.boundaries = boundaries
        self.sources = sources
        self.names = Names(catalog, sources.modules)
        self._homes: dict[str, DomainSpec | None] = {}

    # --- declarations

    @cached_property
    def domains(self) -> list[DomainSpec]:
        """The domains of the application."""
        return [domain.__remit__ for domain in self.catalog.domains]

    @cached_property
    def jobs(self) -> list[JobSpec]:
        """The jobs that the application declares; remit's own are left out."""
        return [spec for spec in self.catalog.specs if not _is_own(spec)]

    @cached_property
    def events(self) -> list[EventSpec]:
        """The events that the application declares; remit's own are left out."""
        return [spec for spec in self.catalog.events if not _is_own(spec)]

    @cached_property
    def messages(self) -> list[MessageSpec]:
        """All of them."""
        return [*self.jobs, *self.events]

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, to remit's own events too."""
        return self.catalog.subscriptions

    # --- modules

    @cached_property
    def modules(self) -> list[Source]:
        """The modules that are looked at, by name; tests and whatever else is ignored are left out."""
        return [source for name, source in sorted(self.sources.modules.items()) if not self._is_ignored(name)]

    def _is_ignored(self, module: str) -> bool:
        ignore: Any = self.boundaries.ignore
        package = next((each.package for each in self.domains if _within(each.package, module)), None)
        patterns = [each for each in ignore if package is None or not covers(each, package)]
        return covers_any(patterns, module)

    def home(self, module: str) -> DomainSpec | None:
        """The domain whose code a module is; None outside all of them, and for the composition root."""
        if module not in self._homes:
            self._homes[module] = None if module in self._roots else self._home(module)
        return self._homes[module]

    def _home(self, module: str) -> DomainSpec | None:
        holders = [each for each in self.domains if _within(each.package, module)]
        if not holders:
            return None
        longest = max(len(each.package) for each in holders)
        nearest = [each for each in holders if len(each.package) == longest]
        if len(nearest) == 1:
            return nearest[0]
        named = [each for each in nearest if module in {each.owner.__module__, each.handlers_module}]
        return named[0] if len(named) == 1 else None

    def belongs(self, module: str, domain: DomainSpec) -> bool:
        """Whether a module may hold declarations and handlers of a domain."""
        home = self._home(module)
        return home is domain or (home is None and _within(domain.package, module))

    @cached_property
    def declaring(self) -> dict[str, set[DomainSpec]]:
        """The modules that declare domains and messages, and whose."""
        found: dict[str, set[DomainSpec]] = {each.owner.__module__: {each} for each in self.domains}
        for spec in self.messages:
            found.setdefault(spec.message.__module__, set()).add(spec.domain.__remit__)
        return found

    def is_face(self, module: str, domain: DomainSpec) -> bool:
        """Whether other domains may import a module of this one."""
        below = module.removeprefix(domain.package).removeprefix(".")
        if any(below == "" if face == SELF else covers(face, below) for face in self.boundaries.face(domain.name)):
            return True
        events = {spec.message.__module__ for spec in self.events if spec.domain is domain.owner}
        return module in {domain.owner.__module__, *events}

    # --- imports and calls

    @cached_property
    def sites(self) -> list[Site]:
        """Every place where something is sent, registered, built or composed."""
        return [site for source in self.modules for site in sites_of(source, self.names)]

    @cached_property
    def _roots(self) -> set[str]:
        return {site.source.module for site in self.sites if isinstance(site, Composing)}

    @cached_property
    def imports(self) -> list[tuple[Source, str, int]]:
        """Every import of a module that is looked at, those by text among them: who, what, on which line."""
        looked_at = {source.module: source for source in self.modules}
        found = [
            (looked_at[each.importer], each.imported, each.line)
            for each in self.sources.imports
            if each.importer in looked_at
        ]
        return found + [(site.source, site.module, site.line) for site in self.sites if isinstance(site, Loading)]

    @cached_property
    def crossings(self) -> list[Crossing]:
        """Every import of one domain by another."""
        return list(self._crossings())

    def _crossings(self) -> Iterator[Crossing]:
        for source, imported, line in self.imports:
            user, owner = self.home(source.module), self.home(imported)
            if user is None or owner is None or user is owner:
                continue
            declares = owner in self.declaring.get(imported, ())
            yield Crossing(
                source,
                line,
                imported,
                user,
                owner,
                face=self.is_face(imported, owner),
                dependency=not declares or user in self.declaring.get(source.module, ()),
            )

    # --- places

    def place_of(self, spec: MessageSpec, field: str | None = None) -> Place:
        """Where a message is declared, or one of its fields."""
        cls = spec.message
        source = self.sources.get(cls.__module__)
        if source is None:
            return _living_place(cls)
        node = _class_in(source.tree.body, cls.__qualname__.split("."))
        if node is None:
            return Place(source.file, 1)
        for statement in node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name)) if name == field:
                    return Place(source.file, statement.lineno)
                case _:
                    pass
        return Place(source.file, node.lineno)

    @cached_property
    def root(self) -> Place:
        """Where the application is composed; the first domain, where that cannot be found."""
        for site in self.sites:
            if isinstance(site, Composing):
                return Place(site.source.file, site.line)
        return _living_place(self.domains[0].owner) if self.domains else Place("?", 1)


def build(catalog: Catalog, boundaries: Boundaries) -> Model:
    """Load the handlers of all domains, read the sources, and put both together.

    Raises `ConfigurationError` where `boundaries` names what does not exist, `MissingExtra` without grimp, and whatever
    importing the handlers raises.
    """
    boundaries.check_names(catalog)
    packages: Iterable[str] = (*(domain.__remit__.package for domain in catalog.domains), *boundaries.packages)
    return Model(catalog, boundaries, read_sources(packages))


def place_in(text: str) -> Place:
    """A place that the catalog knows as `file:line`."""
    file, _, line = text.rpartition(":")
    return Place(shown(Path(file)), int(line)) if line.isdigit() else Place(text, 1)


def _within(package: str, module: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _is_own(spec: MessageSpec) -> bool:
    return f"{spec.message.__module__}.".startswith(_OWN)


def _class_in(body: Iterable[ast.stmt], path: list[str]) -> ast.ClassDef | None:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == path[0]:
            return node if len(path) == 1 else _class_in(node.body, path[1:])
        for inner in (getattr(node, "body", ()), getattr(node, "orelse", ())):
            if not isinstance(node, ast.ClassDef) and (found := _class_in(inner, path)):
                return found
    return None


def _living_place(cls: type) -> Place:
    try:
        return Place(shown(Path(inspect.getfile(cls))), inspect.getsourcelines(cls)[1])
    except (OSError, TypeError):
        return Place(cls.__module__, 1)
