"""The dependencies of handlers: one factory per domain, opened once per worker."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from remit.catalog.handlers import place_of
from remit.errors import HandlerShape

C = TypeVar("C")

ContextManager: TypeAlias = AbstractAsyncContextManager[C] | AbstractContextManager[C]

Context: TypeAlias = Callable[
    [], AsyncIterator[C] | Iterator[C] | AbstractAsyncContextManager[C] | AbstractContextManager[C]
]
"""A generator function that yields once, or anything that returns a context manager, async or not."""


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """Opens a domain's context. `open()` returns a new context manager, async or blocking."""

    open: Callable[[], ContextManager[Any]]
    place: str


def examine_context(function: Context[Any], domain: str) -> ContextFactory:
    """Check that a factory can be called without arguments, and describe it. Raises `HandlerShape`."""
    place = place_of(function)
    if not _takes_nothing(function) or inspect.iscoroutinefunction(function):
        raise HandlerShape(
            f"The context of {domain} ({place}) must be callable without arguments: a function, async or not, that "
            "yields once, or one that returns a context manager."
        )
    return ContextFactory(_opener(function), place)


def _takes_nothing(function: Context[Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    return True


def _opener(function: Context[Any]) -> Callable[[], ContextManager[Any]]:
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(cast("Callable[[], AsyncGenerator[Any, None]]", function))
    if inspect.isgeneratorfunction(function):
        return contextmanager(cast("Callable[[], Generator[Any, None, None]]", function))
    return cast("Callable[[], ContextManager[Any]]", function)
