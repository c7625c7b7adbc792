"""A handler is checked where it is declared: two arguments, and the right kind of function for its mode."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from remit.catalog.handlers import HandlerFunction, examine, place_of
from remit.errors import HandlerShape, InvalidArgument

HERE = __name__
WANTED = "a handler is `async def handler(job: Sync, run: Run[Billing])`, or the same with plain `def`."


def blocking(job: object, run: object) -> None: ...


async def asynchronous(job: object, run: object) -> None: ...


def look(function: HandlerFunction, mode: Any = None) -> Any:
    return examine(function, "Sync", "Billing", mode)


def test_async_def_runs_on_the_loop_and_def_in_a_thread() -> None:
    assert look(asynchronous).mode == "async"
    assert look(blocking).mode == "thread"


def test_a_handler_knows_its_place_and_the_path_to_import_it() -> None:
    handler = look(blocking, "process")
    assert handler.mode == "process"
    assert handler.function is blocking
    assert handler.path == f"{HERE}:blocking"
    assert handler.place == f"{__file__}:{blocking.__code__.co_firstlineno}"


def test_the_place_of_a_wrapped_function_is_that_of_the_original() -> None:
    @functools.wraps(blocking)
    def wrapper(*args: Any) -> None: ...

    assert place_of(wrapper) == place_of(blocking)
    assert look(wrapper).place == place_of(blocking)


def test_an_object_with_an_async_call_runs_on_the_loop() -> None:
    class Callable:
        async def __call__(self, job: object, run: object) -> None: ...

    assert look(Callable()).mode == "async"


def test_a_partial_is_seen_through() -> None:
    async def three(extra: object, job: object, run: object) -> None: ...

    assert look(functools.partial(three, 1)).mode == "async"


def test_a_plain_function_may_say_that_it_returns_an_awaitable() -> None:
    assert look(blocking, "async").mode == "async"


def generator(job: object, run: object) -> Iterator[int]:
    yield 1


async def async_generator(job: object, run: object) -> AsyncIterator[int]:
    yield 1


def lonely(job: object) -> None: ...


def keyword_only(job: object, *, run: object) -> None: ...


def crowded(job: object, run: object, more: object) -> None: ...


@pytest.mark.parametrize(
    "function, mode, problem",
    [
        (generator, None, "is a generator: a handler returns its result, it does not yield"),
        (async_generator, None, "is a generator: a handler returns its result, it does not yield"),
        (lonely, None, "takes (job: 'object') -> 'None', and is called with two positional arguments, (job, run)"),
        (keyword_only, None, "takes (job: 'object', *, run: 'object') -> 'None', and is called with two positional"),
        (crowded, None, "takes (job: 'object', run: 'object', more: 'object') -> 'None', and is called with two"),
        (asynchronous, "thread", 'is async, and mode="thread" needs a plain `def`'),
        (asynchronous, "process", 'is async, and mode="process" needs a plain `def`'),
        (lambda job, run: None, "process", 'is not at the top level of its module, so mode="process" cannot import it'),
    ],
)
def test_another_shape_is_refused_with_the_wanted_one(function: Any, mode: str | None, problem: str) -> None:
    with pytest.raises(HandlerShape) as refused:
        look(function, mode)
    message = str(refused.value)
    assert message.startswith(f"{function.__qualname__} ({place_of(function)}) {problem}")
    assert message.endswith(WANTED)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(HandlerShape, match="is no function"):
        look(3)  # type: ignore[arg-type]


def test_a_nested_function_cannot_be_imported_by_another_process() -> None:
    def nested(job: object, run: object) -> None: ...

    with pytest.raises(HandlerShape, match="is not at the top level of its module"):
        look(nested, "process")


def test_a_misspelled_mode_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgument) as refused:
        look(blocking, "proces")
    assert str(refused.value) == "mode must be one of async, thread, process, not 'proces'. Did you mean 'process'?"


def test_a_process_cannot_import_the_script_that_is_run() -> None:
    def build(job: object, run: object) -> None: ...

    build.__module__, build.__qualname__ = "__main__", "build"
    with pytest.raises(HandlerShape, match="is in the script that is run"):
        examine(build, "Sync", "Billing", "process")
