"""`remit graph`: a drawing of the domains of an application, and a page for each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from remit.app import Remit
from remit.boundaries.drawing import canvas as canvases
from remit.boundaries.drawing import dot, html, mermaid
from remit.boundaries.drawing import json as as_json
from remit.boundaries.mapping import Map, map_of
from remit.cli.applications import named
from remit.cli.exits import Exit, UsageError
from remit.cli.loading import load
from remit.cli.options import AppPath
from remit.cli.output import say
from remit.cli.wording import count

Format: TypeAlias = Literal["mermaid", "dot", "json", "html"]

_DRAW: Mapping[str, Callable[[Map], str]] = {"mermaid": mermaid.draw, "dot": dot.draw, "json": as_json.draw}


def graph(
    app: AppPath = None,
    *,
    format: Annotated[Format, Parameter(help="The format; html is one page that needs no network.")] = "mermaid",
    output: Annotated[
        str | None, Parameter(metavar="FILE", help="Write to this file instead of to standard output.")
    ] = None,
    canvas: Annotated[
        str | None, Parameter(metavar="FOLDER", help="Write a Markdown page per domain into this folder, and an index.")
    ] = None,
    check: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Write nothing; fail if the files are not up to date."),
    ] = False,
) -> Exit:
    """Draw the domains with their jobs, events, subscriptions and queues.

    Made only from the declarations, so the result can be committed and compared in CI: with --canvas, or --output, and
    --check.
    """
    if canvas is not None and output is not None:
        raise UsageError("--canvas and --output together: one writes pages into a folder, the other one file")
    if check and canvas is None and output is None:
        raise UsageError("--check compares files: name them with --canvas FOLDER or --output FILE")
    application = load(named(app))
    drawn = map_of(application)
    if canvas is not None:
        return _compare(drawn, Path(canvas)) if check else _write(drawn, Path(canvas))
    text = html.draw(drawn, _title(application)) if format == "html" else _DRAW[format](drawn)
    if output is None:
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="")
        return Exit.OK
    file = Path(output)
    if check:
        fresh = file.is_file() and file.read_text("utf-8") == text
        say(f"{file} is up to date" if fresh else f"{file} is out of date: write it again with remit graph")
        return Exit.OK if fresh else Exit.FINDINGS
    file.write_text(text, "utf-8", newline="\n")
    return Exit.OK


def _title(app: Remit) -> str:
    """The stated name of the application; without one, not the address of its database."""
    return app.name if "(" not in app.name else "Domains"


def _compare(drawn: Map, folder: Path) -> Exit:
    difference = canvases.compare(drawn, folder)
    for text in difference.texts:
        say(f"{folder}/{text}")
    say(
        f"write them again with remit graph --canvas {folder}"
        if difference
        else f"{count(len(drawn.domains), 'canvas', 'canvases')} up to date"
    )
    return Exit.FINDINGS if difference else Exit.OK


def _write(drawn: Map, folder: Path) -> Exit:
    changed = canvases.write(drawn, folder)
    for name in changed:
        say(f"{folder}/{name}")
    say(f"{count(len(changed), 'file')} changed in {folder}")
    return Exit.OK
