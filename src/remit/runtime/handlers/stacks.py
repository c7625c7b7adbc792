"""Where a handler stands at this moment, as text: for the failure of a run whose time is up."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

_OURS: Final = (str(Path(__file__).parent.parent), threading.__file__)
_DEEPEST: Final = 50


def of_coroutine(coroutine: Any, task: asyncio.Task[Any]) -> str:
    """The stack of a coroutine that `task` awaits, and of the tasks that it awaits in turn."""
    frames = list(_awaiting(coroutine))
    waiter = getattr(task, "_fut_waiter", None)  # what a task waits for: no public name, and absent elsewhere
    while isinstance(waiter, asyncio.Task) and len(frames) < _DEEPEST:
        frames += _awaiting(waiter.get_coro())
        waiter = getattr(waiter, "_fut_waiter", None)
    return _text(frames)


def of_thread(ident: int) -> str:
    """The stack of a thread, without the frames that call its handler."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(ident)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    first = next((at for at, each in enumerate(frames) if not each.f_code.co_filename.startswith(_OURS)), 0)
    return _text(frames[first:])


def _awaiting(awaited: Any) -> Iterator[FrameType]:
    """The frames of a coroutine and of those that it awaits, the innermost last."""
    for _ in range(_DEEPEST):
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _text(frames: Iterable[FrameType]) -> str:
    stack = traceback.StackSummary.extract(((frame, frame.f_lineno) for frame in frames), limit=-_DEEPEST)
    return "".join(stack.format()).rstrip()
