"""Reading the files of an application, and caching the results for the next check."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.boundaries.names import Names, path_of
from remit.boundaries.sites import Building, Composing, Loading, Registration, Sending, Site, sites_of
from remit.boundaries.sources import Source
from remit.boundaries.syntax import Facts
from remit.catalog import DomainSpec, MessageSpec

FOLDER: Final = ".remit-cache"
FILE: Final = "check.json"
_FORMAT: Final = 1
"""Raise it whenever `Facts`, a `Site`, or the way in which they are found changes."""

_Row = list[Any]


class _Entry(msgspec.Struct, array_like=True):
    """The results of one file. `sites` hold for as long as every file in `asked` has the content of that digest."""

    digest: str
    facts: Facts
    asked: dict[str, str]
    sites: list[_Row]


class _Kept(msgspec.Struct):
    """The file of the cache. `facts` hold for these `roots`, `sites` for this `world`."""

    version: str = ""
    roots: tuple[str, ...] = ()
    world: str = ""
    files: dict[str, _Entry] = {}  # msgspec copies it


class Reader:
    """Returns the facts and the sites of a module: those of the last check if none of their files has changed."""

    def __init__(self, names: Names, roots: Iterable[str], folder: Path | None) -> None:
        self._names = names
        self._roots = tuple(sorted(roots))
        self._folder = folder
        self._known: dict[str | None, Any] = dict(names.by_path) | {None: None}
        self._old = self._load()
        self._new = _Kept(_version(), self._roots, names.world)

    def facts(self, source: Source) -> Facts:
        """The facts of one file."""
        return self._entry(source).facts

    def sites(self, source: Source) -> list[Site]:
        """The places in one module where something is sent, registered, built or composed."""
        return [self._site(row, source) for row in self._entry(source).sites]

    def save(self) -> None:
        """Write the cache. An unwritable folder is not a failure of the check."""
        if self._folder is None or self._new.files == self._old.files:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / ".gitignore").write_text("*\n", "utf-8")
            fresh = self._folder / f"{FILE}.{os.getpid()}"
            fresh.write_bytes(msgspec.json.encode(self._new))
            fresh.replace(self._folder / FILE)

    def _load(self) -> _Kept:
        if self._folder is not None:
            with suppress(OSError, msgspec.MsgspecError):
                kept = msgspec.json.decode((self._folder / FILE).read_bytes(), type=_Kept)
                if (kept.version, kept.roots) == (_version(), self._roots):
                    return kept
        return _Kept()

    def _entry(self, source: Source) -> _Entry:
        entry = self._new.files.get(source.module)
        if entry is None:
            entry = self._new.files[source.module] = self._read(source)
        return entry

    def _read(self, source: Source) -> _Entry:
        names, old = self._names, self._old.files.get(source.module)
        if old is not None and old.digest != source.digest:
            old = None
        if old is not None and self._old.world == self._new.world and self._unchanged(old.asked):
            return old
        facts = old.facts if old is not None else names.syntax(source.module).facts(self._roots)
        names.asked.clear()
        sites = [] if source.is_ignored else [_row(site) for site in sites_of(source, names)]
        asked = {name: names.sources[name].digest for name in sorted(names.asked - {source.module})}
        return _Entry(source.digest, facts, asked, sites)

    def _unchanged(self, asked: dict[str, str]) -> bool:
        return all(self._names.sources[name].digest == digest for name, digest in asked.items())

    def _site(self, row: _Row, source: Source) -> Site:
        known = self._known
        match row:
            case ["sending", line, verb, through, within, specs, made, name, told]:
                messages = {path: known[path] for path in specs}
                return Sending(
                    source,
                    line,
                    verb,
                    known[through],
                    known[within],
                    tuple(messages.values()),
                    frozenset(messages[path] for path in made),
                    name,
                    told,
                )
            case ["registration", line, verb, domain, what, spec]:
                return Registration(source, line, verb, known[domain], what, known[spec])
            case ["building", spec]:
                return Building(source, known[spec])
            case ["composing", line]:
                return Composing(source, line)
            case ["loading", line, module]:
                return Loading(source, line, module)
            case _:
                raise AssertionError(row)


def _row(site: Site) -> _Row:
    match site:
        case Sending():
            specs, made = [path_of(each) for each in site.specs], sorted(path_of(each) for each in site.made)
            through, within = _path(site.through), _path(site.within)
            return ["sending", site.line, site.verb, through, within, specs, made, site.name, site.told]
        case Registration():
            return ["registration", site.line, site.verb, _path(site.domain), site.what, _path(site.spec)]
        case Building():
            return ["building", _path(site.spec)]
        case Composing():
            return ["composing", site.line]
        case Loading():
            return ["loading", site.line, site.module]


def _path(spec: DomainSpec | MessageSpec | None) -> str | None:
    return None if spec is None else path_of(spec)


def _version() -> str:
    return f"{_FORMAT} {sys.version_info[:3]}"
