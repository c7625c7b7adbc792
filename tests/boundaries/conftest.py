"""Small applications to check: `bazaar`, where every rule is violated, and `market`, where none is."""

from __future__ import annotations

import importlib
import os
import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from remit.boundaries import Boundaries, Report, check
from remit.catalog import Catalog

collect_ignore = ["projects"]

PROJECTS = Path(__file__).parent / "projects"
_MARK = re.compile(r"# violates: ([a-z -]+)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PROJECTS)
    monkeypatch.chdir(PROJECTS)


def planted(project: str) -> Counter[tuple[str, int, str]]:
    """The violations that the sources of a project say that they hold: file, line, rule."""
    found: Counter[tuple[str, int, str]] = Counter()
    for file in sorted((PROJECTS / project).rglob("*.py")):
        text = file.read_text("utf-8")
        for mark in _MARK.finditer(text):
            line = text.count("\n", 0, mark.start()) + 1
            found.update((file.relative_to(PROJECTS).as_posix(), line, rule) for rule in mark[1].split())
    return found


@dataclass(frozen=True)
class Application:
    """As much of an application as a check needs."""

    catalog: Catalog
    boundaries: Boundaries | None = None


class Project:
    """A package of its own, written for one test; `PKG` in its sources stands for its name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def write(self, files: dict[str, str]) -> None:
        for path, text in files.items():
            file = self.folder / self.name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            for package in [file.parent, *file.parent.parents]:
                if package == self.folder:
                    break
                (package / "__init__.py").touch()
            file.write_text(textwrap.dedent(text).replace("PKG", self.name), "utf-8")

    def check(self, *domains: str, boundaries: Boundaries | None = None, scope: tuple[str, ...] = ()) -> Report:
        """Check these domains, each `module:name`."""
        importlib.invalidate_caches()
        found = [getattr(importlib.import_module(f"{self.name}.{m}"), n) for m, n in (d.split(":") for d in domains)]
        return check(Application(Catalog(found, scope=scope), boundaries))


_numbers = count()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, f"project_{os.getpid()}_{next(_numbers)}")
