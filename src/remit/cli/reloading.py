"""`remit worker --reload`: for development, a worker that restarts when the code changes."""

from __future__ import annotations

from pathlib import Path

from remit.cli import guarded
from remit.cli.exits import Exit, UsageError
from remit.cli.serving import Orders, serve
from remit.cli.stopping import StopSwitch
from remit.errors import MissingExtra

GRACE = 5.0
"""Seconds that runs get to end before a restart, unless `--grace` sets another time: the developer waits for it."""


def reloading(orders: Orders, stop: StopSwitch) -> int:
    """Run a worker in a child process, and replace it after each change of a Python file below this directory.

    A worker that ends by itself, for example because the code does not import, is started again after the next change.
    """
    if orders.processes != 1:
        raise UsageError("--reload runs one worker: leave --processes out")
    try:
        from watchfiles import PythonFilter, run_process
    except ModuleNotFoundError as error:
        raise MissingExtra("--reload needs watchfiles: pip install 'remit[reload]'") from error
    stop.uninstall()  # watchfiles receives the signals, and passes them on
    patience = int(GRACE if orders.grace is None else orders.grace) + 5
    run_process(Path.cwd(), target=_work, args=(orders,), watch_filter=PythonFilter(), sigint_timeout=patience)
    return Exit.OK


def _work(orders: Orders) -> None:
    """In the child process; it gets a SIGINT before each restart."""
    stop = StopSwitch()
    stop.install()
    raise SystemExit(guarded(stop, lambda: int(serve(orders, stop))))
