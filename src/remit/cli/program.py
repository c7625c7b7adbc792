"""All commands, and the parsing of a command line.

Reasons for cyclopts instead of typer or click: it reads plain signatures with `Annotated`, so that mypy and pyright
check a command like any function; it takes one option from the command line, the environment and a file through one
interface, which `remit.cli.settings` fills; its errors are values that name the nearest option, and exit statuses are
ours. Typer would provide two of these only with code of our own, click none of the first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError

import remit
from remit.cli.commands import (
    check,
    dead,
    enqueue,
    events,
    graph,
    jobs,
    migrate,
    queues,
    status,
    subscriptions,
    worker,
    workers,
)
from remit.cli.exits import Exit, UsageError
from remit.cli.settings import Settings, options_of
from remit.cli.stopping import StopSwitch

_HELP = "Background jobs in the database that the application already has."
_EPILOGUE = (
    "APP is module:attribute, as in shop.app:app; a function without parameters is called. Every option --some-option "
    "is also REMIT_SOME_OPTION in the environment and some-option in remit.toml, or in [tool.remit] of pyproject.toml; "
    "flags override environment variables, which override the file.\n\n"
    "Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 not found, 4 the database cannot be reached or has the "
    "wrong schema, 5 a check found something, 130 interrupted, 141 the output was no longer read."
)


def build(stop: StopSwitch) -> App:
    """The command line, as cyclopts knows it."""
    app = App(
        name="remit",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=f"remit {remit.__version__}",
        suppress_keyboard_interrupt=False,  # the exit status is ours
    )
    commands: dict[str, Callable[..., Any]] = {
        "worker": worker.command(stop),
        "migrate": migrate.migrate,
        "enqueue": enqueue.enqueue,
        "status": status.status,
        "check": check.check,
        "graph": graph.graph,
    }
    for name, command in commands.items():
        words = "[APP] NAME [PAYLOAD]" if name == "enqueue" else "[APP]"
        app.command(command, name=name, usage=f"Usage: remit {name} {words} [OPTIONS]", help_epilogue="")
    for noun in (jobs, dead, events, subscriptions, queues, workers):
        app.command(noun.group)
    return app


def run(words: list[str], stop: StopSwitch) -> int:
    """Run one command line. Raises `RemitError`, `UsageError` among them."""
    app = build(stop)
    app.config = (Settings(options_of(app), os.environ, Path.cwd()),)
    try:
        answer = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return Exit.OK if answer is None else int(answer)
    except CycloptsError as error:
        command = " ".join(["remit", *(error.command_chain or ())])
        text = str(error).strip().replace(", ...", " and others").rstrip(".")  # of many commands it names a few
        raise UsageError(f"{text}: see {command} --help") from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would complain at its end
        return Exit.BROKEN_PIPE
