"""The model that the rules read: declarations, imports and calls of one application. It judges nothing."""

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
from remit.boundaries.reading import Reader
from remit.boundaries.scopes import Function
from remit.boundaries.sites import Composing, Loading, Site
from remit.boundaries.sources import OWN, Source, Sources, read_sources, shown
from remit.boundaries.syntax import Import
from remit.catalog import Catalog, DomainSpec, EventSpec, Handler, JobSpec, MessageSpec, Subscription

_OWN: Final = f"{OWN}."
_DEPTH: Final = 12


@dataclass(frozen=True, slots=True)
class Place:
    """A displayed file, and a line."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A module of one domain, `user`, imports a module of another, `owner`.

    `face` is True if that module is public, `dependency` if the import makes the user depend on the owner. Importing
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

    def __init__(self, catalog: Catalog, boundaries: Boundaries, sources: Sources, cache: Path | None = None) -> None:
        self.catalog = catalog
        self.boundaries = boundaries
        self.sources = sources
        self.names = Names(catalog, sources.modules)
        self.roots = frozenset(name.partition(".")[0] for name in sources.modules)
        self._reader = Reader(self.names, self.roots, cache)
        self._homes: dict[str, DomainSpec | None] = {}

    # --- declarations

    @cached_property
    def domains(self) -> list[DomainSpec]:
        """The domains of the application."""
        return [domain.__remit__ for domain in self.catalog.domains]

    @cached_property
    def jobs(self) -> list[JobSpec]:
        """The jobs that the application declares, without remit's own."""
        return [spec for spec in self.catalog.specs if not _is_own(spec)]

    @cached_property
    def events(self) -> list[EventSpec]:
        """The events that the application declares, without remit's own."""
        return [spec for spec in self.catalog.events if not _is_own(spec)]

    @cached_property
    def messages(self) -> list[MessageSpec]:
        """All of them."""
        return [*self.jobs, *self.events]

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, including those to remit's own events."""
        return self.catalog.subscriptions

    # --- modules

    @cached_property
    def modules(self) -> list[Source]:
        """The checked modules, by name, without tests and other ignored ones."""
        return [source for _, source in sorted(self.sources.modules.items()) if not source.is_ignored]

    def home(self, module: str) -> DomainSpec | None:
        """The domain of a module; None outside all of them, and for the composition root."""
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
        """The modules that declare domains and messages, and their domains."""
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
        """Every place where a message is sent, registered or built, or the application composed."""
        found = [site for source in self.modules for site in self._reader.sites(source)]
        self._reader.save()
        return found

    @cached_property
    def _roots(self) -> set[str]:
        return {site.source.module for site in self.sites if isinstance(site, Composing)}

    @cached_property
    def imports(self) -> list[tuple[Source, Import]]:
        """Every import in a checked module, including imports by text."""
        found = [(source, each) for source in self.modules for each in self._imports(source)]
        loaded = [site for site in self.sites if isinstance(site, Loading)]
        return found + [(site.source, Import(site.module, None, site.module, site.line)) for site in loaded]

    def _imports(self, source: Source) -> list[Import]:
        found = self._reader.facts(source).imports
        return [each for each in found if self.boundaries.type_checking or not each.for_types]

    @cached_property
    def uses(self) -> list[tuple[Source, str, int]]:
        """The modules that a module of a domain imports, or reaches through an import: user, module, line."""
        imported: dict[str, dict[tuple[str, int], None]] = {}
        for source, written in self.imports:
            for module in self._modules_at(written.path, self._home(source.module)):
                imported.setdefault(source.module, {})[module, written.line] = None
        for source in self.modules:
            if home := self._home(source.module):
                found = imported.setdefault(source.module, {})
                known = {module for module, _ in found}
                for path, line in self._reached(source):
                    found |= dict.fromkeys((each, line) for each in self._modules_at(path, home) if each not in known)
        return [(self.sources.modules[name], *use) for name, uses in imported.items() for use in uses]

    def _reached(self, source: Source) -> Iterator[tuple[str, int]]:
        """The dotted names that a module uses, without those that start from an import that does not count."""
        imports = self._reader.facts(source).imports
        counted = {each.start for each in self._imports(source)}
        hidden = {each.start for each in imports} - counted
        for each in self._reader.facts(source).reached:
            if not any(f"{each.path}.".startswith(f"{start}.") for start in hidden):
                yield each.path, each.line

    def _modules_at(self, path: str, user: DomainSpec | None) -> Iterator[str]:
        """The module that holds a dotted name, and the module that imports from it.

        Re-exports are followed through modules outside all domains. The module of another domain may pass on contents
        of its modules, but not these modules themselves.
        """
        for _ in range(_DEPTH):
            module = self.sources.holder(path)
            if module is None:
                return
            yield module
            home = self._home(module)
            if user is None or home is user:
                return
            first, _, others = path[len(module) + 1 :].partition(".")
            target = self._reader.facts(self.sources.modules[module]).exports.get(first)
            if target is None or (home is not None and target not in self.sources.modules):
                return
            path = f"{target}.{others}".rstrip(".")

    @cached_property
    def crossings(self) -> list[Crossing]:
        """Every import of one domain by another."""
        return list(self._crossings())

    def _crossings(self) -> Iterator[Crossing]:
        for source, imported, line in self.uses:
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
        """The place where a message is declared, or one of its fields."""
        cls = spec.message
        source = self.sources.get(cls.__module__)
        if source is None:
            return _living_place(cls)
        node = _class_in(self.names.syntax(source.module).tree.body, cls.__qualname__.split("."))
        if node is None:
            return Place(source.file, 1)
        for statement in node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name)) if name == field:
                    return Place(source.file, statement.lineno)
                case _:
                    pass
        return Place(source.file, node.lineno)

    def function_of(self, handler: Handler) -> tuple[Source, Function, ast.ClassDef | None] | None:
        """A handler in the sources, and its class; by module and line, since decorators may hide its name."""
        place = place_in(handler.place)
        for source in filter(None, (self.sources.get(handler.path.partition(":")[0]), self._by_file.get(place.file))):
            for function, owner in (
                _functions(self.names.syntax(source.module).tree) if source.file == place.file else ()
            ):
                if min([function.lineno, *(each.lineno for each in function.decorator_list)]) == place.line:
                    return source, function, owner
        return None

    @cached_property
    def _by_file(self) -> dict[str, Source]:
        return {source.file: source for source in self.modules}

    @cached_property
    def root(self) -> Place:
        """The place where the application is composed; the first domain, if that cannot be found."""
        for site in self.sites:
            if isinstance(site, Composing):
                return Place(site.source.file, site.line)
        return _living_place(self.domains[0].owner) if self.domains else Place("?", 1)


def build(catalog: Catalog, boundaries: Boundaries, cache: Path | None = None) -> Model:
    """Read the sources, and combine them with the catalog. `cache` is the folder that keeps results.

    Raises `ConfigurationError` if `boundaries` names something that does not exist, or a file cannot be parsed.
    """
    boundaries.check_names(catalog)
    specs = [domain.__remit__ for domain in catalog.domains]
    packages: Iterable[str] = (*(spec.package for spec in specs), *boundaries.packages)
    ignore: Any = boundaries.ignore

    def is_ignored(module: str) -> bool:
        package = next((spec.package for spec in specs if _within(spec.package, module)), None)
        return covers_any([each for each in ignore if package is None or not covers(each, package)], module)

    return Model(catalog, boundaries, read_sources(packages, is_ignored), cache)


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


def _functions(node: ast.AST, owner: ast.ClassDef | None = None) -> Iterator[tuple[Function, ast.ClassDef | None]]:
    """All functions below a node, each before those within it, and the classes whose methods they are.

    A lambda of an event and its run is converted to a function; that of `where=` takes the event alone.
    """
    for child in ast.iter_child_nodes(node):
        within = owner
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield child, owner
                within = None
            case ast.Lambda(args=arguments, body=body) if len(arguments.posonlyargs + arguments.args) > 1:
                written = ast.FunctionDef("<lambda>", arguments, [ast.Return(body)], [])
                yield ast.copy_location(written, child), None
            case ast.ClassDef():
                within = child
            case _:
                pass
        yield from _functions(child, within)


def _living_place(cls: type) -> Place:
    try:
        return Place(shown(Path(inspect.getfile(cls))), inspect.getsourcelines(cls)[1])
    except (OSError, TypeError):
        return Place(cls.__module__, 1)
