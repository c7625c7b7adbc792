"""Runs a handler within the hooks of its application, the first one outermost.

On the event loop hooks of both kinds nest as they were registered. For a handler in a thread or a process, the async
ones run on the worker's loop, around the others, which run where the handler does.

A hook sees what the handler raised, and may raise something else. It cannot swallow it: a run that failed would be
completed by a forgotten `raise`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from remit.catalog import Hook, Mode, Run
from remit.errors import HandlerShape
from remit.runtime.handlers import django

T = TypeVar("T")


class Hooks:
    """The hooks of a worker, by where they run: its application's, within the one that sees to Django's connections."""

    def __init__(self, given: Sequence[Hook]) -> None:
        self._given = given
        own = django.hook()
        hooks = (own, *given) if own else tuple(given)
        self.inside = tuple(each for each in hooks if each.blocking is not None)
        """Those that run in the thread or the process of a handler."""
        outside = tuple(each for each in hooks if each.blocking is None)
        self.on_loop: dict[Mode, tuple[Hook, ...]] = {"async": hooks, "thread": outside, "process": outside}

    def paths(self, in_process: str | None) -> tuple[str, ...]:
        """The paths by which a child imports the hooks that run in it. `in_process` names a job that runs in one.

        Raises `HandlerShape` if a hook cannot be imported and there is such a job.
        """
        inside = [hook for hook in self._given if hook.blocking is not None]
        lost = [hook.place for hook in inside if hook.path is None]
        if in_process and lost:
            raise HandlerShape(
                f"The hook around runs at {lost[0]} is not at the top level of a module that can be imported, and "
                f'{in_process} has mode="process": the hook runs in that process. Move it, or make it async.'
            )
        return tuple(hook.path for hook in inside if hook.path is not None)


async def around(hooks: Sequence[Hook], run: Run[Any], call: Callable[[], Awaitable[None]]) -> None:
    """Await a call within hooks, on the event loop."""
    if not hooks:
        await call()
        return
    first, *others = hooks
    error: BaseException | None = None
    async with _Awaited(first.blocking(run)) if first.awaiting is None and first.blocking else _awaiting(first, run):
        try:
            await around(others, run, call)
        except BaseException as raised:
            error = raised
            raise
    if error is not None:
        raise error


def around_blocking(hooks: Sequence[Hook], run: Run[Any], call: Callable[[], T]) -> T:
    """Call within hooks, in this thread."""
    if not hooks:
        return call()
    first, *others = hooks
    assert first.blocking is not None
    error: BaseException | None = None
    with first.blocking(run):
        try:
            return around_blocking(others, run, call)
        except BaseException as raised:
            error = raised
            raise
    raise error


def _awaiting(hook: Hook, run: Run[Any]) -> AbstractAsyncContextManager[Any]:
    assert hook.awaiting is not None
    return hook.awaiting(run)


class _Awaited(AbstractAsyncContextManager[None]):
    """A plain context manager as an async one."""

    def __init__(self, manager: AbstractContextManager[Any]) -> None:
        self._manager = manager

    async def __aenter__(self) -> None:
        self._manager.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.__exit__(kind, error, trace)
