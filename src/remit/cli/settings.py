"""Options from the environment and the file: flags override environment variables, which override the file.

An option `--log-level` is `REMIT_LOG_LEVEL` in the environment and `log-level` in `remit.toml`, or in the table
`[tool.remit]` of `pyproject.toml`; both are searched in the current directory. An unknown key in the file is an error,
whichever command runs. Other programs set variables too: for a service named `remit`, Kubernetes sets `REMIT_PORT`. So
a variable is an error only if its name is close to that of an option; any other is ignored, with a warning.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token

from remit.cli.exits import UsageError
from remit.errors import nearest
from remit.telemetry import log

PREFIX = "REMIT_"
READ_BY_OTHERS = frozenset({"REMIT_DATABASE_URL", "REMIT_TEST_DATABASE_URL"})
"""Variables that are not options: the application reads the first, the pytest plugin the second."""
_OF_KUBERNETES = re.compile(r"REMIT_(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)")
"""The variables of a service named `remit` or `remit-…`, in each container of its namespace."""
_NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one option in one source, as text. Errors about the value name `source`."""

    option: str
    texts: tuple[str, ...]
    source: str


class Settings:
    """The settings of this process, checked against the existing options. Raises `UsageError`."""

    def __init__(self, options: Collection[str], environment: Mapping[str, str], folder: Path) -> None:
        self._found: dict[str, Setting] = {}
        for setting in (*_from_file(options, folder), *_from_environment(options, environment)):
            self._found[setting.option] = setting

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add values that the command line lacks; cyclopts calls this for the command that runs."""
        for argument in arguments:
            setting = self._found.get(argument.name.removeprefix("--"))
            if setting is not None and not argument.tokens:
                for index, text in enumerate(setting.texts):
                    argument.append(Token(keyword=argument.name, value=text, source=setting.source, index=index))


def options_of(app: App) -> set[str]:
    """The names of all options of an app and of its commands, without their dashes."""
    names: set[str] = set()
    for _, command in _commands(app):
        if command.default_command is not None:
            names |= {
                argument.name.removeprefix("--")
                for argument in command.assemble_argument_collection()
                if argument.name.startswith("--")
            }
    return names


def _commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    yield path, app
    for name in app:
        if not name.startswith("-"):
            yield from _commands(app[name], (*path, name))


def _variable(option: str) -> str:
    return PREFIX + option.replace("-", "_").upper()


def _from_environment(options: Collection[str], environment: Mapping[str, str]) -> Iterator[Setting]:
    known = {_variable(option): option for option in options}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in READ_BY_OTHERS:
            continue
        if name not in known:
            _refuse_near_miss(name, {*known, *READ_BY_OTHERS})
            continue
        if value:  # an empty variable means "not set" in containers
            yield Setting(known[name], (value,), name)


def _refuse_near_miss(name: str, known: Collection[str]) -> None:
    """A variable that is close to an option is a typing mistake; any other is logged and ignored."""
    if _OF_KUBERNETES.fullmatch(name):
        return
    if get_close_matches(name, known, n=1, cutoff=_NEARLY):
        raise UsageError(f"the environment sets {name}, and no option has that name.{nearest(name, known)}")
    log.warning("the environment sets %s, which is not an option of remit: it is ignored", name)


def _from_file(options: Collection[str], folder: Path) -> Iterator[Setting]:
    file, table = _table(folder)
    for key, value in table.items():
        if key not in options:
            hint = nearest(key, options)
            if _variable(key) in READ_BY_OTHERS:
                hint = f" The application reads it only from {_variable(key)}."
            raise UsageError(f"{file} sets {key!r}, and no option has that name.{hint}")
        yield Setting(key, _texts(key, value, file), f"{key} in {file}")


def _table(folder: Path) -> tuple[str, dict[str, Any]]:
    """The file with settings, and its settings."""
    own, project = _read(folder / "remit.toml"), _read(folder / "pyproject.toml")
    section = (project or {}).get("tool", {}).get("remit")
    if own is not None and section is not None:
        raise UsageError("both remit.toml and [tool.remit] in pyproject.toml are there: keep one of them")
    if section is not None and not isinstance(section, dict):
        raise UsageError("tool.remit in pyproject.toml is not a table: write [tool.remit]")
    return ("remit.toml", own) if own is not None else ("pyproject.toml", section or {})


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file.name} is not TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{file.name} cannot be read: {error.strerror}") from error


def _texts(key: str, value: object, file: str) -> tuple[str, ...]:
    """A value as on the command line."""
    if isinstance(value, list):
        return tuple(text for each in value for text in _texts(key, each, file))
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, str | int | float):
        return (str(value),)
    raise UsageError(f"{key!r} in {file} is {type(value).__name__}: an option is a text, a number, true or false")
