"""The command `remit`. The import has no requirements; a call of `main` needs the extra `cli`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from remit.cli.exits import Exit, complain, exit_of
from remit.cli.stopping import StopSwitch
from remit.cli.traces import shown
from remit.errors import MissingExtra, RemitError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of this process, and return the exit status, as listed in `Exit`.

    Deliberate errors of remit are one line on stderr. For errors of the application's module during its import, the
    traceback is written from the module's own first line on. Any other exception is a bug, in the application or
    here: it is raised, with its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    stop = StopSwitch()
    if words[:1] == ["worker"]:
        stop.install()  # before anything takes time: a signal during the start ends a worker cleanly
    return guarded(stop, lambda: _run(words, stop))


def guarded(stop: StopSwitch, work: Callable[[], int]) -> int:
    """Run a command; returns its exit status, also after a failure."""
    try:
        return work()
    except RemitError as error:
        complain(error)
        return exit_of(error)
    except StopSwitch.Stopped:
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:
        if not shown(error):
            raise
        return Exit.FAILED
    finally:
        stop.uninstall()


def _run(words: list[str], stop: StopSwitch) -> int:
    try:
        from remit.cli.program import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"cyclopts", "rich"}:
            raise
        raise MissingExtra("the command line needs cyclopts and rich: pip install 'remit[cli]'") from error
    return run(words, stop)
