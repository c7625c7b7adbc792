"""The source files of the checked packages, found without importing anything."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import Final

from remit.errors import ConfigurationError

OWN: Final = "remit"
_NOT_CODE: Final = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Source:
    """One module and its file. If `is_ignored`, no rule checks it; names are resolved through it nevertheless."""

    module: str
    path: Path
    is_package: bool = False
    is_ignored: bool = False

    @property
    def package(self) -> str:
        """The package from which its relative imports start."""
        return self.module if self.is_package else self.module.rpartition(".")[0]

    @cached_property
    def data(self) -> bytes:
        """The content of the file."""
        return self.path.read_bytes() if self.path.is_file() else b""

    @cached_property
    def digest(self) -> str:
        """A digest of the content of the file, and of the kind of module."""
        kind = f"{self.is_package:d}{self.is_ignored:d}".encode()
        return blake2b(kind + self.data, digest_size=16).hexdigest()

    def parse(self) -> ast.Module:
        """The syntax of the module. Raises `ConfigurationError` if Python cannot parse it, unless it is ignored."""
        try:
            return ast.parse(self.data)
        except (SyntaxError, ValueError, RecursionError) as error:
            if self.is_ignored:
                return ast.Module([], [])
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            raise ConfigurationError(
                f"{self.file}{line} cannot be parsed: {getattr(error, 'msg', None) or error}. If it is not part of the "
                f'application, add it to Boundaries(ignore=(*TESTS, "{self.module}")).'
            ) from error

    @cached_property
    def file(self) -> str:
        """The displayed file: relative to the current directory if it is below it."""
        return shown(self.path)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that is not checked, and the reason."""

    file: str
    why: str

    def text(self) -> str:
        """One line for people."""
        return f"{self.file}: not checked: {self.why}"


@dataclass(frozen=True)
class Sources:
    """All modules by name, and files that were found but are not checked."""

    modules: Mapping[str, Source]
    unread: tuple[Unread, ...] = ()

    def get(self, module: str) -> Source | None:
        """The source of a module, if it is among those found."""
        return self.modules.get(module)

    def holder(self, dotted: str) -> str | None:
        """The module of a dotted name: `shop.billing.ledger.post` → `shop.billing.ledger`."""
        while dotted and dotted not in self.modules:
            dotted = dotted.rpartition(".")[0]
        return dotted or None


def shown(path: Path) -> str:
    """The name of a file for people and baselines."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def read_sources(packages: Iterable[str], is_ignored: Callable[[str], bool]) -> Sources:
    """Find the modules of the top-level packages that hold these, in folders without `__init__.py` too.

    Nothing is imported, parsed or written. Raises `ConfigurationError` for a package that does not exist.
    """
    modules: dict[str, Source] = {}
    unread: list[Unread] = []
    for root in sorted({_root_of(package) for package in packages}):
        spec = _spec(root)
        folders = _folders(spec)
        if spec.submodule_search_locations is None:
            modules[root] = Source(root, Path(spec.origin or ""))
        for found in (each for folder in folders for each in _below(folder, root, frozenset())):
            if isinstance(found, Source):
                modules.setdefault(found.module, found)
            else:
                unread.append(found)
    marked = {
        name: Source(name, source.path, source.is_package, is_ignored=is_ignored(name))
        for name, source in modules.items()
    }
    return Sources(marked, tuple(unread))


def _below(folder: Path, package: str, around: frozenset[Path]) -> Iterator[Source | Unread]:
    """The modules in a folder, those of a package before those below it. Links are followed, except in cycles."""
    around |= {folder.resolve()}
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return  # a virtual environment
    for entry in entries:
        path, (stem, _, suffix) = Path(entry.path), entry.name.partition(".")
        if entry.name.startswith(".") or entry.name in _NOT_CODE:
            continue
        if entry.is_dir():
            if path.resolve() in around:
                continue
            if not suffix:
                yield from _below(path, f"{package}.{stem}", around)
            elif next(path.rglob("*.py"), None):
                yield Unread(shown(path), "no package can have a dot in its name")
        elif entry.name == "__init__.py":
            yield Source(package, path, is_package=True)
        elif suffix == "py":
            yield Source(f"{package}.{stem}", path)
        elif suffix.endswith(".py"):
            yield Unread(shown(path), "no module can have a dot in its name")
        elif (
            any(entry.name == f"{stem}{each}" for each in EXTENSION_SUFFIXES)
            and not path.with_name(f"{stem}.py").exists()
        ):
            yield Unread(shown(path), "it is compiled, and its source is not beside it")


def _root_of(package: str) -> str:
    """The regular package that holds all the others on the path; the first of them if none is regular."""
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
