"""`engine-import`: the code of a domain knows messages, and not what carries them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from remit.boundaries.model import Model
from remit.boundaries.patterns import covers_any
from remit.boundaries.sources import OWN, imports_of_own
from remit.boundaries.violations import Violation

_PUBLIC: Final = (f"{OWN}.errors", f"{OWN}.testing", f"{OWN}.adapters", f"{OWN}.boundaries")
"""What a domain may import of remit beside the package itself."""


def engine_import(model: Model) -> Iterator[Violation]:
    """Engines belong to the composition root and to declared infrastructure."""
    engines: Any = model.boundaries.engines
    infrastructure: Any = model.boundaries.infrastructure
    for source, imported, line in model.imports:
        domain = model.home(source.module)
        if domain is not None and covers_any(engines, imported) and not covers_any(infrastructure, source.module):
            yield Violation(
                "engine-import",
                source.file,
                line,
                domain.name,
                f"{source.module} -> {imported}",
                f"{domain.name} imports {imported}, a queue engine",
                f"Declare a job of {domain.name} and enqueue that; an adaptor that needs the engine belongs to "
                f'Boundaries(infrastructure=("{source.module}",)).',
            )
    for source in model.modules:
        domain = model.home(source.module)
        if domain is None or covers_any(infrastructure, source.module):
            continue
        for each in imports_of_own(source):
            if each.imported == OWN or covers_any(_PUBLIC, each.imported):
                continue
            yield Violation(
                "engine-import",
                source.file,
                each.line,
                domain.name,
                f"{source.module} -> {each.imported}",
                f"{domain.name} imports {each.imported}, the inside of remit",
                "Import from remit itself, remit.errors, remit.testing or remit.adapters; what needs more belongs to "
                f'Boundaries(infrastructure=("{source.module}",)).',
            )
