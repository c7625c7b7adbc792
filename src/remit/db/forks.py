"""Locked files that a forked child gives up at once.

A lock taken with `flock` belongs to the open file, which a fork shares. A child that lives on would keep it: a worker
that was killed would seem to be alive, and the turn of one that died while it wrote would never end.
"""

from __future__ import annotations

import os

_files: set[int] = set()


def close_in_children(file: int) -> None:
    """Close this file in every child that is forked from now on."""
    _files.add(file)


def close(file: int) -> None:
    """Close it here, and forget it."""
    _files.discard(file)
    os.close(file)


def _close_inherited() -> None:
    for file in _files:
        os.close(file)
    _files.clear()


os.register_at_fork(after_in_child=_close_inherited)
