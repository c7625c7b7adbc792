"""`engine-import`: the code of a domain knows messages, and not their transport."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from remit.boundaries.model import Model
from remit.boundaries.patterns import covers_any
from remit.boundaries.sources import OWN
from remit.boundaries.syntax import Import
from remit.boundaries.violations import Violation

_PUBLIC: Final = (f"{OWN}.errors", f"{OWN}.testing", f"{OWN}.adapters", f"{OWN}.boundaries")
"""The parts of remit that a domain may import beside the package itself."""


def engine_import(model: Model) -> Iterator[Violation]:
    """Engines belong to the composition root and to declared infrastructure."""
    engines: Any = model.boundaries.engines
    infrastructure: Any = model.boundaries.infrastructure
    found: set[tuple[str, str, int]] = set()
    for source, each in model.imports:
        domain = model.home(source.module)
        if domain is None or covers_any(infrastructure, source.module):
            continue
        engine, own = _engine(each, engines), _inside(each)
        if (imported := engine or own) is None or (source.module, imported, each.line) in found:
            continue
        found.add((source.module, imported, each.line))
        what = "a queue engine" if engine else "internals of remit"
        remedy = (
            f"Declare a job of {domain.name} and enqueue that; an adapter that needs the engine belongs to "
            if engine
            else "Import from remit itself, remit.errors, remit.testing or remit.adapters; the rest belongs to "
        )
        yield Violation(
            "engine-import",
            source.file,
            each.line,
            domain.name,
            f"{source.module} -> {imported}",
            f"{domain.name} imports {imported}, {what}",
            f'{remedy}Boundaries(infrastructure=("{source.module}",)).',
        )


def _engine(each: Import, engines: tuple[str, ...]) -> str | None:
    """The shortest part of an import that is an engine: `celery` of `celery.app.task`."""
    parts = each.path.split(".")
    names = (".".join(parts[: end + 1]) for end in range(len(parts)))
    return next((name for name in names if covers_any(engines, name)), None)


def _inside(each: Import) -> str | None:
    """The module of remit that is imported, if it is not for applications."""
    module = each.path if each.module == OWN and each.path in _own_modules() else each.module
    is_own = module.startswith(f"{OWN}.")
    return module if is_own and not covers_any(_PUBLIC, module) else None


@lru_cache(maxsize=1)
def _own_modules() -> frozenset[str]:
    return frozenset(f"{OWN}.{found.name}" for found in pkgutil.iter_modules(sys.modules[OWN].__path__))
