"""Hooks of an application around each run: context managers that take the run."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from remit.catalog.handlers import place_of
from remit.catalog.run import Run
from remit.errors import HandlerShape

RunHook: TypeAlias = Callable[
    [Run[Any]],
    Iterator[None] | AsyncIterator[None] | AbstractContextManager[Any] | AbstractAsyncContextManager[Any],
]
"""A generator function of the run that yields once, async or not, or a factory of a context manager of the run."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A registered hook. At least one of `blocking` and `awaiting` is set; each makes a new context manager.

    `path` is `module:name`, by which a child process imports it, or None if it cannot be imported.
    """

    blocking: Callable[[Run[Any]], AbstractContextManager[Any]] | None
    awaiting: Callable[[Run[Any]], AbstractAsyncContextManager[Any]] | None
    path: str | None
    place: str


def examine_hook(function: RunHook) -> Hook:
    """Check that a function can be called as a hook around runs, and describe it. Raises `HandlerShape`."""
    place = place_of(function)
    blocking, awaiting = _openers(function)
    if not (blocking or awaiting) or not _takes_one(function):
        raise HandlerShape(
            f"The hook around runs at {place} must be a function `(run)`, async or not, that yields once, or a context "
            "manager class that is made with a run."
        )
    name = getattr(function, "__qualname__", "")
    importable = bool(name) and "." not in name and function.__module__ != "__main__"
    return Hook(blocking, awaiting, f"{function.__module__}:{name}" if importable else None, place)


def _openers(function: Any) -> tuple[Any, Any]:
    if inspect.isgeneratorfunction(function):
        return contextmanager(function), None
    if inspect.isasyncgenfunction(function):
        return None, asynccontextmanager(function)
    if isinstance(function, type):
        blocking, awaiting = hasattr(function, "__enter__"), hasattr(function, "__aenter__")
        return function if blocking else None, function if awaiting else None
    inner = function.func if isinstance(function, partial) else function
    wrapped = inspect.unwrap(inner) if callable(inner) else None  # as @contextmanager leaves it
    if wrapped is inner:
        return None, None
    return (
        function if inspect.isgeneratorfunction(wrapped) else None,
        function if inspect.isasyncgenfunction(wrapped) else None,
    )


def _takes_one(function: RunHook) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True
