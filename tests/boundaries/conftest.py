"""Small applications to check: `bazaar`, where every rule is violated, and `market`, where none is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

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
