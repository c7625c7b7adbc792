"""What keeps a run apart from the next run of its slot, and from its worker.

A slot is one task for many runs, and a task has one context of variables. So each run is driven in a context of its
own, which costs a copy and no task.

A task that ends by `SystemExit` or `KeyboardInterrupt` ends its event loop, and the worker with it. So the tasks that
handlers start end by `TaskExited` instead.
"""

from __future__ import annotations

import asyncio
import types
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, cast

from remit.catalog import running_domain

_ENDED: Final = object()


def begin(context: Context, coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Take the first step of a coroutine in this context; answer the rest, to be awaited, or None where it has ended.

    A handler that never waits takes one step. `next` with a default needs no exception to say that it was the last.
    """
    steps = coroutine.__await__()
    awaited = context.run(next, steps, _ENDED)
    return None if awaited is _ENDED else _driven(context, steps, awaited)


@types.coroutine
def _driven(context: Context, steps: Generator[Any, Any, None], awaited: object) -> Generator[Any, Any, None]:
    """Take the other steps in this context, each when what the one before awaits is there."""
    while awaited is not _ENDED:
        try:
            yield awaited
        except GeneratorExit:
            context.run(steps.close)
            raise
        except BaseException as error:
            try:
                awaited = context.run(steps.throw, error)
            except StopIteration:
                return
        else:
            awaited = context.run(next, steps, _ENDED)


class TaskExited(BaseException):
    """A task that a handler started was about to end the process; `SystemExit` or `KeyboardInterrupt` is the cause."""


def contain(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Contain the tasks that handlers start on this loop from now on; call the answer when that may end.

    Another task factory of the loop goes on making the tasks. Tasks of the application itself are left alone.
    """
    factory = _factories.get(loop)
    if factory is None:
        factory = _factories[loop] = _TaskFactory(loop.get_task_factory())
        loop.set_task_factory(cast("Any", factory))
    factory.users += 1
    return lambda: _release(loop, factory)


def _release(loop: asyncio.AbstractEventLoop, factory: _TaskFactory) -> None:
    factory.users -= 1
    if factory.users == 0:
        _factories.pop(loop, None)
        if loop.get_task_factory() is factory:  # somebody may have set another one, which may call this one
            loop.set_task_factory(factory.make)


class _TaskFactory:
    """Makes the tasks of a loop; the coroutine of a handler's task is wrapped."""

    def __init__(self, make: Callable[..., Any] | None) -> None:
        self.make = make
        self.users = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        context: Context | None = options.get("context")
        domain = running_domain.get() if context is None else context.get(running_domain)
        if domain is not None:
            coroutine = _Contained(coroutine)
        if self.make is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        return self.make(loop, coroutine, **options)


_factories: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _TaskFactory]] = weakref.WeakKeyDictionary()


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that does not end by what ends an event loop. In all else it is the one that it stands for.

    No `async def`: a task that is cancelled before its first step would never begin, and so never close, the inner one.
    """

    __slots__ = ("__weakref__", "_inner")

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _exited(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._inner.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _exited(raised) from raised

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._inner.__await__())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _exited(error: BaseException) -> TaskExited:
    return TaskExited(f"a task of the handler raised {error!r}")
