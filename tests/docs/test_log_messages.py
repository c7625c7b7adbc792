"""Monitors match log messages: every one that the runtime can write is in the table of the operations page."""

import ast
import inspect
import re

from remit import telemetry
from tests.docs.pages import DOCS

PAGE = (DOCS / "operations.md").read_text()
CALLS = ("debug", "info", "warning", "error")


def messages() -> dict[str, str]:
    """Each message of the one place where they are written, with its level."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(telemetry))):
        match node:
            case ast.Call(ast.Attribute(ast.Name(name), level), [ast.Constant(str(text)), *_]) if (
                name.endswith("log") and level in CALLS
            ):
                found[text] = level.upper()
            case _:
                pass
    return found


def longest_words(message: str) -> str:
    """The longest part of a message that is the same every time."""
    return max((part.strip(" :;,\n") for part in re.split(r"%[-\w.]*[sdrf]", message)), key=len)


def test_every_log_message_is_documented_with_its_level() -> None:
    rows = [row for row in PAGE.splitlines() if re.match(r"\| (DEBUG|INFO|WARNING|ERROR) ", row)]
    found = messages()
    assert len(found) > 20
    for message, level in found.items():
        words = message.split("%")[0].strip(" :;,") or longest_words(message)
        matching = [row for row in rows if f"`{words}" in row]
        assert matching, f"not documented: {message!r}, by the words {words!r}"
        assert any(row.startswith(f"| {level} ") for row in matching), f"{message!r} is logged as {level}"


def test_no_documented_message_is_written_by_nobody() -> None:
    rows = re.findall(r"^\| (?:DEBUG|INFO|WARNING|ERROR) \| (.*?) \|", PAGE, re.MULTILINE)
    everything = "\n".join(messages())
    for row in rows:
        for words in re.findall(r"`([^`]+)`", row):
            assert words in everything, f"nobody writes {words!r}"
