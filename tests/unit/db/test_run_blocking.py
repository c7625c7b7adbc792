"""What is written once for asyncio is finished without an event loop, or says at once that it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from remit.db.transaction import run_blocking


async def answer(value: Any) -> Any:
    return value


async def add(one: int, other: int) -> int:
    return await answer(one) + await answer(other)


def test_a_coroutine_that_never_suspends_is_finished() -> None:
    assert run_blocking(add(1, 2)) == 3
    assert run_blocking(answer(None)) is None


def test_its_errors_are_its_own() -> None:
    async def fail() -> None:
        await answer(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_blocking(fail())


def test_a_stop_iteration_inside_is_an_error_and_no_result() -> None:
    async def stop() -> None:
        raise StopIteration(7)

    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        run_blocking(stop())


@pytest.mark.parametrize("foreign", [lambda: asyncio.sleep(0), lambda: _Suspends()], ids=["asyncio", "anything"])
def test_awaiting_something_else_is_told_at_once(foreign: Any) -> None:
    cleaned_up = []

    async def waits() -> None:
        try:
            await foreign()
        finally:
            cleaned_up.append(True)

    with pytest.raises(RuntimeError, match="awaited something other than its transaction"):
        run_blocking(waits())
    assert cleaned_up == [True], "it is closed, and says no more that it was never awaited"


async def test_it_works_inside_a_running_loop_too() -> None:
    assert run_blocking(add(3, 4)) == 7


class _Suspends:
    def __await__(self) -> Generator[None, None, None]:
        yield
