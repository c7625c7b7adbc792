"""Confirmation before a command that changes many records."""

from __future__ import annotations

import sys

from remit.cli.exits import Refused, UsageError


def confirm(question: str, *, refusal: str, otherwise: str = "pass --yes") -> None:
    """Ask for confirmation. Raises `Refused`, and `UsageError` without a terminal to ask on."""
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on: {otherwise}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused(refusal)
