"""Every shape of a handler, registered in every mode: what a child process imports is this, and no test.

What a handler does is done when its body has run: it returns "ran".
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from remit import Domain, Job, Retry, Run
from remit.catalog.handlers import Mode
from remit.errors import HandlerShape


class Forms(Domain[None], handlers="tests.runtime.shapes", retry=Retry(attempts=1)):
    """Its handlers are of all shapes."""


forms = Forms()
queue = forms.queue("shapes", concurrency=4)
Handled = Job[Forms]


def plain(job: Any, run: Run[Any]) -> str:
    return "ran"


async def native(job: Any, run: Run[Any]) -> str:
    await asyncio.sleep(0)
    return "ran"


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The everyday decorator: it passes on what the function returns."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@logged
@logged
def wrapped(job: Any, run: Run[Any]) -> str:
    return "ran"


@logged
@logged
async def wrapped_async(job: Any, run: Run[Any]) -> str:
    await asyncio.sleep(0)
    return "ran"


def blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return asyncio.run(function(*args))

    return wrapper


@blocking
async def made_blocking(job: Any, run: Run[Any]) -> str:
    return "ran"


def consumed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return next(function(*args))

    return wrapper


@consumed
def consumed_generator(job: Any, run: Run[Any]) -> Iterator[str]:
    yield "ran"


@logged
def wrapped_generator(job: Any, run: Run[Any]) -> Iterator[str]:
    yield "ran"


@logged
async def wrapped_async_generator(job: Any, run: Run[Any]) -> AsyncIterator[str]:
    yield "ran"


def unfinished(job: Any, run: Run[Any]) -> str:
    return "not all of it"


def finishing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        function(*args)
        return "ran"

    return wrapper


beside = finishing(unfinished)


def generator(job: Any, run: Run[Any]) -> Iterator[str]:
    yield "ran"


async def async_generator(job: Any, run: Run[Any]) -> AsyncIterator[str]:
    yield "ran"


@contextlib.contextmanager
def manager(job: Any, run: Run[Any]) -> Iterator[str]:
    yield "ran"


@contextlib.asynccontextmanager
async def async_manager(job: Any, run: Run[Any]) -> AsyncIterator[str]:
    yield "ran"


def delegates(job: Any, run: Run[Any]) -> Awaitable[str]:
    return native(job, run)


async def delegates_unawaited(job: Any, run: Run[Any]) -> Awaitable[str]:
    return native(job, run)


@types.coroutine
def old_coroutine(job: Any, run: Run[Any]) -> Iterator[Any]:
    yield from asyncio.sleep(0).__await__()
    return "ran"


class Awaits:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Any:
        return native(None, None).__await__()  # type: ignore[arg-type]


def makes_awaitable(job: Any, run: Run[Any]) -> Awaits:
    return Awaits()


pool: Final = ThreadPoolExecutor(1)


def submits(job: Any, run: Run[Any]) -> Future[str]:
    return pool.submit(plain, job, run)


class Callee:
    def __call__(self, job: Any, run: Run[Any]) -> str:
        return "ran"

    def method(self, job: Any, run: Run[Any]) -> str:
        return "ran"

    async def async_method(self, job: Any, run: Run[Any]) -> str:
        return "ran"


class AsyncCallee:
    async def __call__(self, job: Any, run: Run[Any]) -> str:
        return "ran"


class GeneratorCallee:
    def __call__(self, job: Any, run: Run[Any]) -> Iterator[str]:
        yield "ran"


class Made:
    """A class that takes what a handler takes."""

    def __init__(self, job: Any, run: Run[Any]) -> None: ...


def three(extra: Any, job: Any, run: Run[Any]) -> str:
    return "ran"


async def async_three(extra: Any, job: Any, run: Run[Any]) -> str:
    return "ran"


def three_delegating(extra: Any, job: Any, run: Run[Any]) -> Any:
    return native(job, run)


def named(function: Any, name: str) -> Any:
    function.__name__ = function.__qualname__ = name
    return function


renamed = named(lambda job, run: native(job, run), "renamed")

SHAPES: Final[dict[str, Any]] = {
    "plain": plain,
    "native": native,
    "wrapped": wrapped,
    "wrapped async": wrapped_async,
    "made blocking": made_blocking,
    "consumed generator": consumed_generator,
    "wrapped generator": wrapped_generator,
    "wrapped async generator": wrapped_async_generator,
    "wrapper beside what it wraps": beside,
    "generator": generator,
    "async generator": async_generator,
    "manager": manager,
    "async manager": async_manager,
    "delegates": delegates,
    "delegates unawaited": delegates_unawaited,
    "old coroutine": old_coroutine,
    "makes an awaitable": makes_awaitable,
    "submits": submits,
    "callee": Callee(),
    "async callee": AsyncCallee(),
    "generator callee": GeneratorCallee(),
    "method": Callee().method,
    "async method": Callee().async_method,
    "class": Made,
    "partial": functools.partial(three, 1),
    "async partial": functools.partial(async_three, 1),
    "partial of a wrapper": functools.partial(logged(async_three), 1),
    "delegating partial": functools.partial(three_delegating, 1),
    "lambda": lambda job, run: plain(job, run),
    "lambda that makes a coroutine": lambda job, run: native(job, run),
    "named lambda": renamed,
}
MODES: Final[tuple[Mode | None, ...]] = (None, "async", "thread", "process")

jobs: Final[dict[tuple[str, Mode | None], type[Handled]]] = {}
refused: Final[dict[tuple[str, Mode | None], str]] = {}


def _register() -> None:
    for number, (shape, function) in enumerate(SHAPES.items()):
        for mode in MODES:
            name = f"Shape{number}{(mode or 'default').capitalize()}"
            try:
                handler = _checked(function, mode)
            except HandlerShape as error:
                refused[shape, mode] = str(error)
                continue
            job = types.new_class(name, (Handled,), {"queue": queue}, lambda body: body.update(__module__=__name__))
            globals()[name] = jobs[shape, mode] = job
            forms.handles(job, mode=mode)(handler)


def _checked(function: Any, mode: Mode | None) -> Any:
    """The function, if a domain takes it: a job of a refused one would have no handler."""
    from remit.catalog.handlers import examine

    examine(function, Handled, Forms, mode)
    return function


_register()
