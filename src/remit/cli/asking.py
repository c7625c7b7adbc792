"""A person is asked before much is done."""

from __future__ import annotations

import sys

from remit.cli.exits import Refused, UsageError


def confirm(question: str, *, refusal: str, otherwise: str = "pass --yes") -> None:
    """Ask, and go on after a yes. Raises `Refused`, and `UsageError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is nobody to ask here: {otherwise}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused(refusal)
