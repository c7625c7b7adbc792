"""Tells that somebody begins to write to a file, where the system can tell it: inotify, on Linux."""

from __future__ import annotations

import ctypes
import os
import select
import time
from io import FileIO
from pathlib import Path

_MODIFY = 0x2
_ENOUGH = 4096
_FINEST = 0.001
"""Seconds: `poll` counts in milliseconds, and rounds up."""


class Inotify:
    """Hears every write to one file, by whatever process; writes that follow each other are heard once."""

    def __init__(self, file: Path) -> None:
        """Raises `OSError` where the system has no ears, or the file does not exist."""
        system = ctypes.CDLL(None, use_errno=True)
        if not hasattr(system, "inotify_init1"):
            raise OSError("no inotify")
        descriptor: int = system.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._inotify = FileIO(descriptor)  # which is closed once only, whoever closes it: numbers are used again
        if system.inotify_add_watch(descriptor, os.fsencode(file), _MODIFY) < 0:
            self.close()
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(file))
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Wait for a write since the last answer; False when there was none for so long."""
        if seconds < _FINEST:
            time.sleep(seconds)
            seconds = 0
        heard = bool(self._poll.poll(seconds * 1000))
        if heard:
            self._inotify.read(_ENOUGH)
        return heard

    def close(self) -> None:
        """Hear no more; may be repeated."""
        self._inotify.close()
