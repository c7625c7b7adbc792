"""From `shop.app:app` to the application that it names."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

from remit.app import Remit
from remit.cli.exits import UsageError
from remit.cli.output import say
from remit.errors import nearest

DEFAULT_ATTRIBUTE = "app"


def load(path: str) -> Remit:
    """Import the module and find the application in it; a function without parameters is called for it.

    `path` is `module:attribute`, as in uvicorn; the attribute is `app` by default. The current directory is searched
    first. Raises `UsageError`; errors of the module itself are passed on.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(f"{path!r} names no application: write module:attribute, for instance shop.app:app")
    _search_here()
    module = _import(module_name)
    found = _find(module, attribute or DEFAULT_ATTRIBUTE)
    path = f"{module_name}:{attribute or DEFAULT_ATTRIBUTE}"
    if not isinstance(found, Remit) and callable(found) and not isinstance(found, type):
        found = _make(found, path)
    if not isinstance(found, Remit):
        raise UsageError(f"{path} is {_kind(found)}, not a Remit.{_others(module)}")
    if found.ignores_environment:
        say(
            f"warning: {path} names its database in code, so REMIT_DATABASE_URL has no effect: "
            f"{found.store.describe()} is used. Write Remit(domains=[…]) to read the variable.",
            stderr=True,
        )
    return found


def _search_here() -> None:
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and lacks another
        where = f"in {Path.cwd()}, nor" if "." not in error.name else f"beside {error.name.rpartition('.')[0]!r}, nor"
        raise UsageError(
            f"there is no module {error.name!r} {where} anywhere else on Python's path: name the application as "
            "module:attribute, from the directory that holds the module"
        ) from None


def _find(module: ModuleType, attribute: str) -> object:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            others = _others(module) or nearest(part, (name for name in vars(found) if not name.startswith("_")))
            raise UsageError(f"{module.__name__} has no {attribute!r}.{others}")
        found = getattr(found, part)
    return found


def _make(factory: object, path: str) -> object:
    assert callable(factory)
    if inspect.iscoroutinefunction(factory):
        raise UsageError(f"{path} is an async function: a factory of the application is a plain `def`")
    try:
        inspect.signature(factory).bind()
    except TypeError:
        raise UsageError(f"{path} needs arguments: a factory of the application takes none") from None
    except ValueError:
        return factory  # a builtin without a signature
    return factory()


def _others(module: ModuleType) -> str:
    """Name the applications in the module."""
    names = [name for name, value in vars(module).items() if isinstance(value, Remit)]
    return f" Did you mean {' or '.join(f'{module.__name__}:{name}' for name in names)}?" if names else ""


def _kind(found: object) -> str:
    name = type(found).__name__
    return "None" if found is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
