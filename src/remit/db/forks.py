"""What a forked child must not share with its parent, and gives up before it runs anything else.

A fork copies descriptors, not what they stand for. A lock taken with `flock` belongs to the open file; a session of
PostgreSQL belongs to the socket. Both would live for as long as the child does: a worker that was killed would seem to
be alive, and its open transactions would keep their locks. A lock of `threading` that another thread held at the fork
is never released in the child, which has the forking thread alone.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object with descriptors, connections or locks of its own."""

    def forked(self) -> None:
        """Called in the child: share nothing with the parent from now on. It must not wait for anything."""


FORKED = 70
"""Exit status of a forked copy of a handler's process that returned from the handler."""

_files: set[int] = set()
_objects: weakref.WeakSet[Forkable] = weakref.WeakSet()


def close_in_children(file: int) -> None:
    """Close this file in every child that is forked from now on."""
    _files.add(file)


def close(file: int) -> None:
    """Close it here, and forget it."""
    _files.discard(file)
    os.close(file)


def in_children(owner: Forkable) -> None:
    """Call `owner.forked()` in every child that is forked from now on, for as long as the object exists."""
    _objects.add(owner)


def detach(descriptor: int) -> None:
    """Put /dev/null in the place of a descriptor: its number stays taken, since an object closes it some day."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def end_if_forked(pid: int, error: BaseException | None = None) -> None:
    """End this process if it is not `pid`: a handler forked, and the copy came back from the handler as well.

    Everything here is a copy: the queue of jobs, the connections, the event loop. Going on would run jobs twice.
    """
    if (own := os.getpid()) == pid:
        return
    why = "" if error is None else f" by raising {error!r}"
    text = (
        f"remit: process {own} was forked by a handler in process {pid} and came back from the handler{why}; "
        "it ends here. End a forked child with os._exit(), or use multiprocessing.\n"
    )
    try:
        os.write(2, text.encode(errors="backslashreplace"))
    finally:
        os._exit(FORKED)


def _forked() -> None:
    for file in _files:
        os.close(file)
    _files.clear()
    for each in list(_objects):
        each.forked()


os.register_at_fork(after_in_child=_forked)
