"""Names of modules with wildcards, as in `Boundaries`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

SELF = "__init__"
"""In a list of faces: the package itself, without the modules below it."""


def covers(pattern: str, module: str) -> bool:
    """Whether a pattern matches a module, or a package that holds it.

    `shop.infra` means that package with all below it; `*` is one part of a name (`shop.*.models`), `**` any number of
    parts (`**.tests`).
    """
    return covers_any((pattern,), module)


def covers_any(patterns: Iterable[str], module: str) -> bool:
    """Whether one of them matches."""
    return _any_of(tuple(patterns)).match(module) is not None


@lru_cache(maxsize=1024)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    texts = ("".join(map(_part, pattern.split("."))).removesuffix(r"\.") for pattern in patterns)
    return re.compile("|".join(rf"{text}(?:\.|$)" for text in texts) or r"(?!)")


def _part(part: str) -> str:
    if part == "**":
        return r"(?:[^.]+\.)*"
    return "".join("[^.]*" if char == "*" else re.escape(char) for char in part) + r"\."
