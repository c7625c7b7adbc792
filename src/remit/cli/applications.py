"""The application of a command: found, opened, closed."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from remit.app import Remit, SyncRemit
from remit.cli.exits import UsageError
from remit.cli.loading import load
from remit.errors import WrongSchema


def named(path: str | None) -> str:
    """The path of the application. Raises `UsageError` if none was given, in any of the ways."""
    if not path:
        raise UsageError(
            "which application? Name it as module:attribute, for instance shop.app:app: as the first argument, with "
            "--app, in REMIT_APP, or as `app` in remit.toml"
        )
    return path


def split(words: Sequence[str], path: str | None, what: str) -> tuple[str, list[str]]:
    """Separate the application from the other words: neither an id nor a queue has a colon. Raises `UsageError`."""
    rest = list(words)
    if rest and ":" in rest[0]:
        path = rest.pop(0)
    if not rest:
        raise UsageError(f"{what} is missing")
    return named(path), rest


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the path of the application to the command that an error names."""
    try:
        yield
    except WrongSchema as error:
        raise WrongSchema(str(error).replace("`remit migrate`", f"`remit migrate {path}`")) from error


@contextmanager
def opened(path: str | None) -> Iterator[tuple[Remit, SyncRemit]]:
    """Load an application and open it, blocking: the application, and the interface to use."""
    path = named(path)
    app = load(path)
    with naming(path), app.sync as face:
        yield app, face


def whoever() -> str:
    """The user account, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without accounts
        return "unknown"
