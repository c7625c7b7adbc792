"""Handlers as they were declared: the function, how it is run, and where it stands in the source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from remit.errors import HandlerShape, InvalidArgument, nearest

Mode: TypeAlias = Literal["async", "thread", "process"]
"""Where a handler runs: on the event loop, in a thread, or in a process of its own pool."""

HandlerFunction: TypeAlias = Callable[[Any, Any], Any]
"""A function of the message and its run."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered handler. `place` is `file:line`; `path` is `module:name`, by which another process imports it."""

    function: HandlerFunction
    mode: Mode
    place: str
    path: str


def examine(function: HandlerFunction, message: str, domain: str, mode: Mode | None, argument: str = "job") -> Handler:
    """Check that a function can be called as a handler in that mode, and describe it.

    `message` and `domain` are the names of the classes, `argument` is that of what is handled, for the texts. Raises
    `HandlerShape` and `InvalidArgument`.
    """
    modes = get_args(Mode)
    if mode is not None and mode not in modes:
        raise InvalidArgument(f"mode must be one of {', '.join(modes)}, not {mode!r}.{nearest(mode, modes)}")
    wanted = (
        f"a handler is `async def handler({argument}: {message}, run: Run[{domain}])`, or the same with plain `def`"
    )
    place = place_of(function)
    problem = _problem(function, mode, argument)
    if problem:
        raise HandlerShape(f"{_name(function)} ({place}) {problem}; {wanted}.")
    if mode is None:
        mode = "async" if _is_async(function) else "thread"
    return Handler(function, mode, place, f"{function.__module__}:{_name(function)}")


def place_of(function: Callable[..., Any]) -> str:
    """Say where a function was written: `file:line`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else getattr(function, "__module__", "unknown place")


def _problem(function: HandlerFunction, mode: str | None, argument: str) -> str | None:
    if not callable(function):
        return "is no function"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return "is a generator: a handler returns its result, it does not yield"
    if not _takes_two(function):
        return f"takes {inspect.signature(function)}, and is called with two positional arguments, ({argument}, run)"
    if mode in {"thread", "process"} and _is_async(function):
        return f'is async, and mode="{mode}" needs a plain `def`'
    if mode == "process" and function.__module__ == "__main__":
        return 'is in the script that is run, and mode="process" imports it in another process: put it into a module'
    if mode == "process" and not _is_importable(function):
        return 'is not at the top level of its module, so mode="process" cannot import it in the other process'
    return None


def _takes_two(function: HandlerFunction) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def _is_async(function: HandlerFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
    )


def _is_importable(function: HandlerFunction) -> bool:
    return "<" not in _name(function) and "." not in _name(function)


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
