"""Carries calls from the event loop to the one thread that uses a connection, and what comes of them back.

An executor of the standard library does the same with two futures, a condition and a chain between them for each call,
which costs a write to an idle file more than its statements do.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
_Call: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class ConnectionThread:
    """Runs calls one after the other, in order, in a daemon thread that starts with the first of them.

    A call whose future is cancelled before it began is left out; one that runs ends, and nobody hears of it. The thread
    ends after what was called when this is closed or collected.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._calls.put, None)

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """The future gets what the function returns or raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((function, future, loop))
        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True)
            self._thread.start()
        return future

    def close(self) -> None:
        """Let the thread end after the calls that it has; waits for nothing."""
        self._end()


def _serve(calls: SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        _run(*call)
        del call  # what it holds may be a connection, and the next one may be long in coming


def _run(function: Callable[[], Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    if future.cancelled():
        return
    result, error = None, None
    try:
        result = function()
    except BaseException as raised:
        error = raised
    try:
        loop.call_soon_threadsafe(_deliver, future, result, error)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
    finally:
        error = None  # its traceback holds this frame


def _deliver(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
