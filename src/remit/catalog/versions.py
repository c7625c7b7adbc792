"""Declarations by their names, with several versions of one name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar


class _Versioned(Protocol):
    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def version(self) -> int: ...


S = TypeVar("S", bound=_Versioned)


class Versions(Mapping[str, S]):
    """Declarations by name and version.

    As a mapping it returns the newest version of each name or alias, which is the meaning of a name alone.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, dict[int, S]] = {}
        self._all: dict[S, None] = {}

    @property
    def all(self) -> list[S]:
        """Every declaration once, in the order in which they were added."""
        return list(self._all)

    def add(self, declared: S) -> None:
        """Add a declaration under each of its names."""
        self._all[declared] = None
        for name in declared.names:
            self._by_name.setdefault(name, {})[declared.version] = declared

    def find(self, name: str, version: int | None = None) -> S | None:
        """Return that version of a name, or the newest."""
        return self.get(name) if version is None else self.of(name).get(version)

    def of(self, name: str) -> Mapping[int, S]:
        """Return all versions of a name."""
        return self._by_name.get(name, {})

    def claimed(self, declared: S) -> tuple[str, S] | None:
        """Return the name that another declaration has in the same version, and that declaration."""
        for name in declared.names:
            if (other := self.find(name, declared.version)) is not None:
                return name, other
        return None

    def is_newest(self, declared: S) -> bool:
        """Whether its own name, without a version, refers to this version."""
        return self.find(declared.names[0]) is declared

    def __getitem__(self, name: str) -> S:
        versions = self._by_name[name]
        return versions[max(versions)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)
