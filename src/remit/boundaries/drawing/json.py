"""The map as JSON, for programs."""

from __future__ import annotations

import json

from remit.boundaries.mapping import Map


def draw(drawn: Map) -> str:
    """One document, with sorted domains, so that two of them compare well."""
    return json.dumps(drawn.document(), indent=2, ensure_ascii=False) + "\n"
