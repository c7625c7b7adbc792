"""One implementation, two faces.

A verb is a coroutine that awaits nothing but the store. Its blocking twin is the same coroutine, given a store that
never suspends, and run to its end without an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from remit.db.transaction import BlockingDatabase, Work, run_blocking

P = ParamSpec("P")
T = TypeVar("T")
Face = TypeVar("Face")


class Runs(Protocol):
    """What a verb needs of a database."""

    async def run(self, work: Work[T], *, atomic: bool = True) -> T: ...

    async def sleep(self, seconds: float) -> None: ...


class BlockingRuns:
    """A blocking database in the clothes of an asyncio one; it never suspends."""

    def __init__(self, database: Callable[[], BlockingDatabase]) -> None:
        self._database = database

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        return self._database().run(work, atomic=atomic)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks on purpose: no event loop runs here


class BlockingFace(Generic[Face]):
    """The blocking twin of a face: holds the face whose verbs it calls."""

    def __init__(self, face: Face) -> None:
        self._face = face


def blocking(
    verb: Callable[Concatenate[Face, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingFace[Face], P], T]:
    """The blocking twin of a verb, with its signature and its documentation."""

    def call(self: BlockingFace[Face], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_blocking(verb(self._face, *args, **kwargs))

    update_wrapper(call, verb)
    return call
