"""What a handler returned: an awaitable is awaited, whatever the function looked like when it was declared."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from remit.errors import HandlerShape

PLAIN: Final = frozenset({type(None), bool, int, float, str, list, dict, tuple})
"""Types of values that need no look."""

_UNBEGUN: Final = (
    GeneratorType,
    AsyncGeneratorType,
    contextlib._GeneratorContextManager,
    contextlib._AsyncGeneratorContextManager,
    concurrent.futures.Future,
)


async def finished(returned: Any) -> Any:
    """Give the result, once everything that can be awaited has been. Raises `HandlerShape` for what has not begun."""
    while inspect.isawaitable(returned):
        returned = await returned
    _refuse_unbegun(returned)
    return returned


def finished_in_thread(returned: Any, loop: asyncio.AbstractEventLoop, waits: Callable[[Any], None]) -> Any:
    """The same for a handler in a thread: what can be awaited is awaited on the loop, and the thread waits for it.

    `waits` is called with the future that the thread waits for, so that it can be cancelled.
    """
    if inspect.isawaitable(returned):
        future = asyncio.run_coroutine_threadsafe(finished(returned), loop)
        waits(future)
        return future.result()
    _refuse_unbegun(returned)
    return returned


def finished_without_loop(returned: Any) -> Any:
    """The same for a handler in a process of its own, which has no loop. Raises `HandlerShape` for an awaitable."""
    if inspect.isawaitable(returned):
        if isinstance(returned, CoroutineType):
            returned.close()
        raise HandlerShape(
            f"the handler returned {_kind(returned)}, and a process-mode handler has no event loop to await it: "
            'run it inside the handler with asyncio.run(…), or do not use mode="process"'
        )
    _refuse_unbegun(returned)
    return returned


def _refuse_unbegun(returned: Any) -> None:
    if isinstance(returned, _UNBEGUN):
        raise HandlerShape(
            f"the handler returned {_kind(returned)}, whose work nothing does or waits for: "
            "do the work in the handler, and return its result"
        )


def _kind(value: Any) -> str:
    return f"an object of type `{type(value).__qualname__.lstrip('_')}`"
