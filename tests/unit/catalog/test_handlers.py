"""A handler is checked where it is declared: two arguments, and the right kind of function for its mode."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Union

import pytest

from remit.catalog import D, Domain, Job, Message, Owner, Run
from remit.catalog.handlers import HandlerFunction, examine, place_of
from remit.errors import HandlerShape, InvalidArgument

if TYPE_CHECKING:
    from shop.elsewhere import Loose  # type: ignore[import-not-found]

HERE = __name__
WANTED = "a handler is `async def handler(job: Sync, run: Run[Billing])`, or the same with plain `def`."


class Billing(Domain): ...


class Catalog(Domain): ...


class Other(Domain): ...


class BillingJob(Job[D], abstract=True): ...


class Sync(BillingJob[Billing]): ...


class Remind(BillingJob[Billing]): ...


class Index(Job[Catalog]): ...


def blocking(job: object, run: object) -> None: ...


async def asynchronous(job: object, run: object) -> None: ...


def look(function: HandlerFunction, mode: Any = None) -> Any:
    return examine(function, Sync, Billing, mode)


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
        (
            lambda job, run: None,
            "process",
            'is not a function at the top level of its module, so mode="process" cannot',
        ),
    ],
)
def test_another_shape_is_refused_with_the_wanted_one(function: Any, mode: str | None, problem: str) -> None:
    with pytest.raises(HandlerShape) as refused:
        look(function, mode)
    message = str(refused.value)
    assert message.startswith(f"{function.__qualname__} ({place_of(function)}) {problem}")
    assert message.endswith(WANTED)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(HandlerShape, match="is not a function"):
        look(3)  # type: ignore[arg-type]


def test_a_nested_function_cannot_be_imported_by_another_process() -> None:
    def nested(job: object, run: object) -> None: ...

    with pytest.raises(HandlerShape, match="is not a function at the top level of its module"):
        look(nested, "process")


def test_a_misspelled_mode_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgument) as refused:
        look(blocking, "proces")
    assert str(refused.value) == "mode must be one of async, thread, process, not 'proces'. Did you mean 'process'?"


def test_a_process_cannot_import_the_script_that_is_run() -> None:
    def build(job: object, run: object) -> None: ...

    build.__module__, build.__qualname__ = "__main__", "build"
    with pytest.raises(HandlerShape, match="is in the script that is run"):
        examine(build, Sync, Billing, "process")


async def of_another_job(job: Remind, run: Run[Billing]) -> None: ...


async def of_two_other_jobs(job: Remind | Index, run: Run[Billing]) -> None: ...


def of_another_domain(job: Sync, run: Run[Catalog]) -> None: ...


def of_two_other_domains(message: Sync, it: Run[Catalog] | Run[Other]) -> None: ...


async def of_any_job_of_another_domain(job: Job[Catalog], run: Run[Billing]) -> None: ...


async def loosely_wrong(job: Remind, run: Loose) -> Loose: ...


@pytest.mark.parametrize(
    "function, argument, named, own",
    [
        (of_another_job, "job", "Remind", "Sync"),
        (of_two_other_jobs, "job", f"Remind or {HERE}:Index", "Sync"),
        (of_another_domain, "run", "Catalog", "Billing"),
        (of_two_other_domains, "it", f"Catalog or {HERE}:Other", "Billing"),
        (of_any_job_of_another_domain, "job", "Catalog", "Sync"),
        (loosely_wrong, "job", "Remind", "Sync"),
    ],
)
def test_what_is_annotated_for_something_else_is_refused(function: Any, argument: str, named: str, own: str) -> None:
    with pytest.raises(HandlerShape) as refused:
        look(function)
    assert str(refused.value) == (
        f"{function.__qualname__} ({place_of(function)}) annotates `{argument}` with {HERE}:{named}, and is registered "
        f"for {HERE}:{own}; {WANTED}"
    )


def test_a_method_and_an_annotation_that_is_no_text_are_seen_through() -> None:
    class Desk:
        def handle(self, job: object, run: object) -> None: ...

    Desk.handle.__annotations__["job"] = Remind
    with pytest.raises(HandlerShape, match=f"annotates `job` with {HERE}:Remind, and is registered for {HERE}:Sync"):
        look(Desk().handle)


async def right(job: Sync, run: Run[Billing]) -> None: ...


async def of_a_base(job: BillingJob[Billing], run: Run[Owner[Any]]) -> None: ...


async def of_any_job(job: Job[Any], run: Run) -> None: ...


async def of_a_message(job: Message[Any], run: Run[Any]) -> None: ...


async def of_several(job: Sync | Index, run: Run[Billing] | Run[Catalog]) -> None: ...


async def of_several_in_the_old_way(job: "Union[Index, Sync]", run: Run[D]) -> None: ...  # noqa: UP007, UP037


async def annotated(job: Annotated[Sync, "once"], run: Any) -> None: ...


async def loose(job: Loose, run: Run[Nowhere]) -> Loose: ...  # type: ignore[name-defined]  # noqa: F821


async def broken(job: 1 / 0, run: int.nothing) -> None: ...  # type: ignore[valid-type, name-defined]


async def of_what_it_is_given(*arguments: Any) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        right,
        of_a_base,
        of_any_job,
        of_a_message,
        of_several,
        of_several_in_the_old_way,
        annotated,
        loose,
        broken,
        of_what_it_is_given,
        lambda job, run: None,
        functools.partial(lambda more, job, run: None, 1),
    ],
)
def test_what_is_annotated_for_it_or_says_less_is_taken(function: HandlerFunction) -> None:
    assert look(function).function is function


def test_what_a_wrapper_passes_on_is_its_own_matter() -> None:
    @functools.wraps(of_another_job)
    async def wrapper(job: Any, run: Any) -> None:
        await of_another_job(Remind(), run)

    assert look(wrapper).function is wrapper


def test_a_name_that_hides_one_of_the_module_is_not_taken_for_it() -> None:
    class Remind(Job[Billing], name="billing.remind-me"): ...

    async def remind(job: Remind, run: Run[Billing]) -> None: ...

    assert examine(remind, Remind, Billing, None).function is remind
