"""Declared handlers: the function, its mode, and its place in the source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, Literal, TypeAlias, get_args, get_type_hints

from remit.catalog.names import path_of
from remit.errors import HandlerShape, InvalidArgument, nearest

Mode: TypeAlias = Literal["async", "thread", "process"]
"""Where a handler runs: on the event loop, in a thread, or in a process of its own pool."""

HandlerFunction: TypeAlias = Callable[[Any, Any], Any]
"""A function of the message and its run."""

_MOST_LAYERS: Final = 20


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered handler. `place` is `file:line`; `path` is `module:name`, by which another process imports it."""

    function: HandlerFunction
    mode: Mode
    place: str
    path: str


def examine(function: HandlerFunction, message: type, owner: type, mode: Mode | None, argument: str = "job") -> Handler:
    """Check that a function can be called as a handler of a message in that mode, and describe it.

    `owner` is the domain that handles it, `argument` the name of the first argument, for the texts. Raises
    `HandlerShape` and `InvalidArgument`.
    """
    modes = get_args(Mode)
    if mode is not None and mode not in modes:
        raise InvalidArgument(f"mode must be one of {', '.join(modes)}, not {mode!r}.{nearest(mode, modes)}")
    wanted = (
        f"a handler is `async def handler({argument}: {message.__qualname__}, run: Run[{owner.__qualname__}])`, or the "
        "same with plain `def`"
    )
    place = place_of(function)
    problem = _problem(function, mode, argument) or _contradiction(function, message, owner)
    if problem:
        raise HandlerShape(f"{_name(function)} ({place}) {problem}; {wanted}.")
    if mode is None:
        mode = "async" if any(map(_is_async, _layers(function))) else "thread"
    return Handler(function, mode, place, f"{function.__module__}:{_name(function)}")


def place_of(function: Callable[..., Any]) -> str:
    """Return the place where a function is defined: `file:line`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else getattr(function, "__module__", "unknown place")


def _problem(function: HandlerFunction, mode: str | None, argument: str) -> str | None:
    if not callable(function):
        return "is not a function"
    if isinstance(function, type):
        return "is a class: calling it makes an object and runs nothing; register a function, or an instance to call"
    if _is_generator(function):
        return "is a generator: a handler returns its result, it does not yield"
    if not _takes_two(function):
        return f"takes {inspect.signature(function)}, and is called with two positional arguments, ({argument}, run)"
    if mode in {"thread", "process"} and _is_async(function):
        return f'is async, and mode="{mode}" needs a plain `def`'
    if mode == "process" and function.__module__ == "__main__":
        return 'is in the script that is run, and mode="process" imports it in another process: put it into a module'
    if mode == "process" and not (inspect.isroutine(function) and _is_importable(function)):
        return 'is not a function at the top level of its module, so mode="process" cannot import it in another process'
    return None


def _contradiction(function: HandlerFunction, message: type, owner: type) -> str | None:
    """Return a description of the annotation that names another message, or the run of another domain.

    Vaguer annotations are accepted: none, a base class, Any, a name that does not exist at run time. The arguments
    that a wrapper passes on are not checked.
    """
    if not inspect.isroutine(function) or hasattr(function, "__wrapped__"):
        return None
    for argument, own in zip(inspect.signature(function).parameters, (message, owner), strict=False):
        named = _named(_hint(function, argument))
        if all(_is_declared(each) and not issubclass(message, each) and not issubclass(owner, each) for each in named):
            others = " or ".join(map(path_of, named))
            return f"annotates `{argument}` with {others}, and is registered for {path_of(own)}"
    return None


def _hint(function: HandlerFunction, argument: str) -> object:
    """The annotation of an argument, or None if it cannot be resolved."""
    try:
        annotation = function.__annotations__[argument]
        if isinstance(annotation, str) and not _is_importable(function):
            return None  # the names of an enclosing function or class are out of reach, and may hide the module's
        alone = SimpleNamespace(__annotations__={argument: annotation})  # others may name undefined names
        return get_type_hints(alone, getattr(function, "__globals__", None))[argument]
    except Exception:  # any error of the names in it: annotations are not required to be evaluated
        return None


def _named(hint: object) -> list[Any]:
    """The parts of a hint: the members of a union, the `Billing` in `Run[Billing]`, or the hint itself."""
    parts = get_args(hint)
    return [each for part in parts for each in _named(part)] if parts else [hint]


def _is_declared(hint: object) -> bool:
    return isinstance(hint, type) and "__remit__" in vars(hint)


def _takes_two(function: HandlerFunction) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_call_of(function))


def _is_generator(function: Callable[..., Any]) -> bool:
    checks = inspect.isgeneratorfunction, inspect.isasyncgenfunction
    return any(check(each) for check in checks for each in (function, _call_of(function)))


def _call_of(function: Callable[..., Any]) -> Any:
    """The function that runs when an object is called; a function itself."""
    return function if inspect.isroutine(function) else type(function).__call__


def _layers(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The function, and those that it declares to stand for: the function of a partial, the one inside a wrapper.

    A wrapper may do anything with the wrapped function, so this is only a guess.
    """
    for _ in range(_MOST_LAYERS):
        yield function
        inner = function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)
        if not callable(inner):
            return
        function = inner


def _is_importable(function: HandlerFunction) -> bool:
    return "<" not in _name(function) and "." not in _name(function)


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
