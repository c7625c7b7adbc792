"""A domain whose runs are hooked: what a child process imports is this, and no test. All is written to a file."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, cast

from remit import Domain, Job, Retry, Run, Skip


class Tale(Protocol):
    """What the messages here have in common."""

    diary: str
    how: str


class Opera(Domain[str], handlers="tests.runtime.hooked", retry=Retry(attempts=1)):
    """Its runs are watched."""


opera = Opera()
box: ContextVar[str] = ContextVar("box", default="empty")


class OnLoop(Job[Opera], timeout=20):
    diary: str
    how: str = ""


class InThread(Job[Opera], timeout=20):
    diary: str
    how: str = ""


class InProcess(Job[Opera], timeout=20):
    diary: str
    how: str = ""


@opera.context
def stage() -> Iterator[str]:
    yield "the stage"


def write(run: Run[Any], *words: object) -> None:
    with Path(told(run).diary).open("a") as diary:
        diary.write(" ".join(map(str, words)) + "\n")


def told(run: Run[Any]) -> Tale:
    return cast("Tale", run.message)


def place() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "main" if threading.current_thread() is threading.main_thread() else "thread"
    return "loop"


def outer(run: Run[Any]) -> Iterator[None]:
    """A plain hook that writes what it sees."""
    write(run, "outer enters", place(), os.getpid(), run.name, run.context)
    if told(run).how == "stop before":
        raise ValueError("before the handler")
    if told(run).how == "skip before":
        raise Skip("not today")
    box.set("filled")
    try:
        yield
    except BaseException as error:
        write(run, "outer sees", type(error).__name__)
        if told(run).how == "swallow":
            return
        if told(run).how == "replace":
            raise KeyError("instead") from error
        raise
    write(run, "outer leaves", run.result)
    if told(run).how == "stop after":
        raise ValueError("after the handler")


class Inner:
    """A class of context managers."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run

    def __enter__(self) -> None:
        write(self._run, "inner enters")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        write(self._run, "inner leaves", kind.__name__ if kind else "")


async def awaiting(run: Run[Any]) -> AsyncIterator[None]:
    """An async hook."""
    write(run, "awaiting enters", place(), os.getpid())
    await asyncio.sleep(0)
    try:
        yield
    except BaseException as error:
        write(run, "awaiting sees", type(error).__name__)
        raise
    write(run, "awaiting leaves", run.result)


def act(job: Any, run: Run[Opera]) -> str:
    write(run, "handler", place(), os.getpid(), box.get())
    if job.how in {"fail", "swallow", "replace"}:
        raise RuntimeError("sings false")
    return "applause"


@opera.handles(OnLoop)
async def on_loop(job: OnLoop, run: Run[Opera]) -> str:
    await asyncio.sleep(0)
    if job.how == "late":
        await asyncio.Event().wait()
    if job.how == "late, and raises then":
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it cleaned up")
    return act(job, run)


@opera.handles(InThread)
def in_thread(job: InThread, run: Run[Opera]) -> str:
    while job.how == "late":
        time.sleep(0.005)
        run.check()
    return act(job, run)


@opera.handles(InProcess, mode="process")
def in_process(job: InProcess, run: Run[Opera]) -> str:
    return act(job, run)
