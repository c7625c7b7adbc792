"""The common cells of tables and sheets: states, numbers, ages, payloads."""

from __future__ import annotations

import json

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from remit.cli.wording import span, visible

QUIET = "dim"
WIDE = 110
"""Width of a terminal from which on a reason of death has room beside the rest."""

_COLOURS = {
    "scheduled": "blue",
    "waiting": "blue",
    "pending": "cyan",
    "unknown": "yellow",
    "ready": "cyan",
    "running": "yellow",
    "completed": "green",
    "dispatched": "green",
    "skipped": "green",
    "cancelled": "magenta",
    "dead": "red",
}


def state(name: str) -> Text:
    """The state of a job, an event or a delivery, in its colour."""
    return Text(name, _COLOURS.get(name, ""))


def number(value: int, style: str = "") -> Text:
    """A number; zero is dim."""
    return Text(f"{value:,}", style if value else QUIET)


def age(seconds: float | None) -> Text:
    """The age of something; a dash for none."""
    return Text("-", QUIET) if seconds is None else Text(span(max(0.0, seconds)))


def versioned(name: str, version: int) -> str:
    """The name of a message, with its version if it is not the first."""
    return name if version == 1 else f"{name} v{version}"


def pretty(text: str | None) -> str | None:
    """A payload for people; text that is not JSON stays unchanged."""
    if text is None:
        return None
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def indented(text: str, by: int = 2, style: str = "") -> RenderableType:
    """A foreign text, indented."""
    return Padding(Text(visible(text).rstrip(), style), (0, 0, 0, by), expand=False)
