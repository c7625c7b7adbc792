"""Signal handlers that belong to this process alone: a forked child gets the default actions instead.

A child that `multiprocessing` forks inside a handler would inherit them: its `terminate()` would do nothing, or reach
the event loop of the worker through the wake-up descriptor, which the two would share.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], Any]

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks a process to stop. SIGHUP comes from a terminal that is closed; under `nohup` it is ignored."""

_ours: dict[signal.Signals, list[Any]] = {}
"""What stood there before, by signal; the last one comes back first."""
_blocked = threading.local()


def take(number: signal.Signals, handler: _Handler) -> None:
    """Handle a signal, unless it is ignored: whoever started this process (`nohup`, say) wants it so.

    Works in the main thread alone. Raises `ValueError` elsewhere.
    """
    before = signal.getsignal(number)
    if before is not signal.SIG_IGN:
        signal.signal(number, handler)
        _ours.setdefault(number, []).append(before)


def give_back(number: signal.Signals) -> None:
    """Put back what stood there before."""
    if before := _ours.get(number):
        signal.signal(number, before.pop())
        if not before:
            del _ours[number]


def cause(code: int) -> str:
    """Why a process ended, for people: `code` is its exit status, or a negative signal."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _before_fork() -> None:
    """Hold signals back until the child has its own handlers: `terminate()` may come at once."""
    if _ours:
        _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ours)


def _unblock() -> None:
    mask = _blocked.__dict__.pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    signal.set_wakeup_fd(-1)  # the event loop's; Python does so itself from 3.12 on
    for number in _ours:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _ours.clear()
    _unblock()


os.register_at_fork(before=_before_fork, after_in_parent=_unblock, after_in_child=_in_child)
