"""The sources of the packages that are looked at, and the imports between them."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    import grimp

OWN: Final = "remit"


@dataclass(frozen=True)
class Source:
    """One module: its file, and its syntax, which is parsed when it is first needed."""

    module: str
    path: Path
    is_package: bool

    @property
    def package(self) -> str:
        """The package from which its relative imports start."""
        return self.module if self.is_package else self.module.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        """The file as text. Bytes that are no UTF-8 are replaced: they matter to nobody here."""
        return self.path.read_text("utf-8", errors="replace")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax of the module. Raises `ConfigurationError` where it cannot be parsed."""
        try:
            return ast.parse(self.text)
        except SyntaxError as error:
            raise ConfigurationError(f"{self.file}:{error.lineno} is no Python: {error.msg}") from error

    @cached_property
    def file(self) -> str:
        """The file as it is shown: relative to the current directory where it lies below it."""
        return shown(self.path)


@dataclass(frozen=True, slots=True)
class Import:
    """One module imports another, on that line."""

    importer: str
    imported: str
    line: int


@dataclass(frozen=True)
class Sources:
    """All modules by name, and what each imports; an external package counts as one module."""

    modules: Mapping[str, Source]
    imports: tuple[Import, ...]

    def get(self, module: str) -> Source | None:
        """The source of a module, if it is among those looked at."""
        return self.modules.get(module)


def shown(path: Path) -> str:
    """A file as people and baselines name it."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def read_sources(packages: Iterable[str]) -> Sources:
    """Find the modules of the top-level packages that hold these, and the imports between them.

    Nothing is imported, and no file is written. Raises `MissingExtra` without grimp, and `ConfigurationError` for a
    package that does not exist, and for a file that is no Python.
    """
    build_graph, unreadable = _grimp()
    roots = {root: _spec(root) for root in sorted({_root_of(package) for package in packages})}
    whole = [root for root, spec in roots.items() if spec.submodule_search_locations is not None]
    modules = {root: _lone(root, spec) for root, spec in roots.items() if root not in whole}
    imports = [found for source in modules.values() for found in _imports_of(source)]
    if whole:
        try:
            graph = build_graph(*whole, include_external_packages=True, cache_dir=None)
        except unreadable as error:
            raise ConfigurationError(f"the imports cannot be read: {error}") from error
        modules |= _modules(graph, {root: _folders(roots[root]) for root in whole})
        imports += _edges(graph, modules)
    return Sources(modules, tuple(sorted(set(imports), key=lambda each: (each.importer, each.line, each.imported))))


def _grimp() -> tuple[Callable[..., grimp.ImportGraph], type[Exception]]:
    try:
        from grimp import build_graph
        from grimp.exceptions import GrimpException
    except ModuleNotFoundError as error:
        if error.name != "grimp":
            raise
        raise MissingExtra("remit check needs grimp: pip install 'remit[check]'") from error
    return build_graph, GrimpException


def _root_of(package: str) -> str:
    """The regular package that holds all the others on the way; the first of them where none is regular."""
    parts = package.split(".")
    names = [".".join(parts[: end + 1]) for end in range(len(parts))]
    for name in names:
        spec = _spec(name)
        if spec.origin is not None:
            return name
    return names[0] if len(_folders(_spec(names[0]))) == 1 else package


def _spec(module: str) -> ModuleSpec:
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    if spec is None and loaded is not None and getattr(loaded, "__file__", None):  # a script
        spec = importlib.util.spec_from_file_location(module, str(loaded.__file__))
    if spec is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ModuleNotFoundError, ValueError):
            spec = None
    if spec is None:
        raise ConfigurationError(f"the package {module!r} cannot be found, so its sources cannot be checked")
    return spec


def _folders(spec: ModuleSpec) -> list[Path]:
    return list(dict.fromkeys(Path(folder).resolve() for folder in spec.submodule_search_locations or ()))


def _lone(module: str, spec: ModuleSpec) -> Source:
    return Source(module, Path(spec.origin or ""), is_package=False)


def _modules(graph: grimp.ImportGraph, folders: Mapping[str, list[Path]]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for name in graph.modules:
        root = next((root for root in folders if f"{name}.".startswith(f"{root}.")), None)
        if root is not None and (source := _located(name, root, folders[root])):
            found[name] = source
    return found


def _located(module: str, root: str, folders: Iterable[Path]) -> Source | None:
    parts = module.removeprefix(root).strip(".").replace(".", "/")
    for folder in folders:
        package = folder / parts / "__init__.py"
        if package.is_file():
            return Source(module, package, is_package=True)
        if parts and (file := folder / f"{parts}.py").is_file():
            return Source(module, file, is_package=False)
    return None


def _edges(graph: grimp.ImportGraph, modules: Iterable[str]) -> Iterator[Import]:
    for importer in modules:
        if importer not in graph.modules:
            continue
        for imported in graph.find_modules_directly_imported_by(importer):
            for each in graph.get_import_details(importer=importer, imported=imported):
                yield Import(importer, imported, each["line_number"])


def imports_of_own(source: Source) -> Iterator[Import]:
    """What a module imports of remit, module by module; grimp knows an external package as a whole."""
    if not re.search(rf"\bimport\s+{OWN}\b|\bfrom\s+{OWN}\b", source.text):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                below = [f"{module}.{alias.name}" for alias in node.names]
                names = [name if module == OWN and name in _own_modules() else module for name in below]
            case _:
                continue
        for name in dict.fromkeys(names):
            if f"{name}.".startswith(f"{OWN}."):
                yield Import(source.module, name, node.lineno)


@lru_cache(maxsize=1)
def _own_modules() -> frozenset[str]:
    return frozenset(f"{OWN}.{found.name}" for found in pkgutil.iter_modules(sys.modules[OWN].__path__))


def _imports_of(source: Source) -> Iterator[Import]:
    """What a module outside any package imports; it is none of grimp's."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(source.module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(source.module, whole if whole in sys.modules else node.module, node.lineno)
