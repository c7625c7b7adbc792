"""Progress of a long command, for people: on standard error, and only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from remit.cli.output import console


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar until the end of the block; it is called with the number done, and the total when it changes."""
    err = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def tell(done: int, of: int | None = None) -> None:
            if of is None:
                progress.update(task, completed=done)
            else:
                progress.update(task, completed=done, total=of)

        yield tell
