"""The end of a command: its exit status, and the one line that reports an error."""

from __future__ import annotations

import sys
from enum import IntEnum

from remit.errors import ConfigurationError, InvalidArgument, RemitError, StoreError, UnknownOption


class Exit(IntEnum):
    """The exit statuses; scripts may rely on them."""

    OK = 0
    """Done. A worker: stopped gracefully."""
    FAILED = 1
    """The command failed or was refused; with a traceback, an unexpected exception."""
    USAGE = 2
    """Wrong usage: an unknown command or option, a wrong value, an application that cannot be found."""
    NOT_FOUND = 3
    """There is no such job, event, queue or subscription."""
    STORE = 4
    """The database cannot be reached, is too busy, refuses, or has the wrong schema."""
    FINDINGS = 5
    """`remit check` found violations, or `remit graph --check` a file that is not up to date."""
    INTERRUPTED = 130
    """Ctrl-C ended a command other than `worker`."""
    BROKEN_PIPE = 141
    """The reader of the output closed the pipe."""


class UsageError(ConfigurationError):
    """The command line, the environment or the file contains something that no command accepts."""

    code = "usage"


class QueueNotFound(RemitError, LookupError):
    """No queue of that name is declared, and none has jobs."""

    code = "queue-not-found"


class Refused(RemitError):
    """The confirmation was declined."""

    code = "refused"


def exit_of(error: RemitError) -> Exit:
    """The exit status of an error."""
    match error:
        case StoreError():
            return Exit.STORE
        case ConfigurationError() | InvalidArgument() | UnknownOption():
            return Exit.USAGE
        case LookupError():
            return Exit.NOT_FOUND
        case _:
            return Exit.FAILED


def complain(error: RemitError) -> None:
    """Write an error as one line on stderr, with its code."""
    text = " ".join(str(error).split())
    print(f"error: {text} [{error.code}]", file=sys.stderr, flush=True)
