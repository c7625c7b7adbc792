"""Blocking handlers run in threads of our own, because a stuck one must be left behind and replaced.

The standard pool cannot do that: its threads are counted for good, and it waits for all of them at exit.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from remit.db import forks


class ThreadPool:
    """Daemon threads that run one call at a time; as many as calls are under way."""

    def __init__(self) -> None:
        self._idle: deque[_Thread] = deque()
        self._lock = threading.Lock()
        self._count = 0

    def call(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run a function in a thread; the future gets what it returns or raises, whatever that is."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context, pid = copy_context(), os.getpid()

        def work() -> None:
            try:
                result, error = context.run(function, *args), None
            except BaseException as raised:
                result, error = None, raised
            forks.end_if_forked(pid, error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._thread().give(work)
        return future

    def _thread(self) -> _Thread:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._count += 1
            return _Thread(self._rest, f"remit-handler-{self._count}")

    def _rest(self, thread: _Thread) -> None:
        with self._lock:
            self._idle.append(thread)

    def close(self) -> None:
        """Let idle threads end; those that are stuck die with the process."""
        with self._lock:
            while self._idle:
                self._idle.pop().end()


class _Thread:
    def __init__(self, rest: Callable[[_Thread], None], name: str) -> None:
        self._rest = rest
        self._work: Callable[[], None] | None = None
        self._given = threading.Semaphore(0)
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def give(self, work: Callable[[], None]) -> None:
        self._work = work
        self._given.release()

    def end(self) -> None:
        self._work = None
        self._given.release()

    def _run(self) -> None:
        while True:
            self._given.acquire()
            work, self._work = self._work, None
            if work is None:
                return
            work()
            del work
            self._rest(self)


class Raised:
    """What a handler raised, carried as a value: a future refuses StopIteration, and a loop must not see SystemExit."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if not future.done():
        future.set_result(result if error is None else Raised(error))
