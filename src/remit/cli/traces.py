"""The traceback of an error in the application's own module, without the frames of its import."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from itertools import dropwhile
from types import TracebackType

_IMPORTERS = {"remit.cli.loading", "remit.catalog.registry"}


def shown(error: BaseException) -> bool:
    """Write the traceback of an error of the application's module, from its own first line on.

    Returns False, and writes nothing, if the error is from elsewhere.
    """
    since_import = dropwhile(lambda frame: _module(frame) not in _IMPORTERS, _frames(error.__traceback__))
    if next(since_import, None) is None:
        return False
    own = next((frame for frame in since_import if not _is_machinery(_module(frame))), None)
    if own is None and not isinstance(error, SyntaxError):  # which names the line by itself
        return False
    traceback.print_exception(error.with_traceback(own))
    return True


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_machinery(module: str) -> bool:
    return module in _IMPORTERS or module.partition(".")[0] in {"importlib", "_frozen_importlib"}


def _module(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", ""))
