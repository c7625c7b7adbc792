"""One operation on several ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from remit.app import SyncRemit
from remit.cli.applications import opened, split
from remit.cli.exits import Exit, complain, exit_of
from remit.cli.output import tell
from remit.errors import RemitError

T = TypeVar("T")


def each(
    words: tuple[str, ...],
    app: str | None,
    json: bool,
    act: Callable[[SyncRemit, str], T],
    write: Callable[[T, bool], None],
    document: Callable[[T], dict[str, Any]],
    *,
    noun: str = "job",
) -> int:
    """Call a function for each id. A failure is reported and does not stop the others; its status is returned.

    `write` gets True for the first.
    """
    path, ids = split(words, app, f"the id of {'an' if noun[0] in 'aeiou' else 'a'} {noun}")
    status, done = Exit.OK, []
    with opened(path) as (_, face):
        for id in ids:
            try:
                result = act(face, face.jobs.whole_id(id) if noun == "job" else id)
            except RemitError as error:
                complain(error)
                status = status or exit_of(error)
                continue
            done.append(document(result))
            if not json:
                write(result, len(done) == 1)
    if json:
        tell({f"{noun}s": done})
    return status
