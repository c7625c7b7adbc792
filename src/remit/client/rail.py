"""The direct rail: events that are buffered in this process, and written together a moment later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.db.transaction import BlockingDatabase


class Rail:
    """A buffer with a thread that empties it."""

    def __init__(self, database: Callable[[], BlockingDatabase]) -> None:
        self._database = database

    async def put(self, event: dict[str, Any]) -> None:
        """Take an event, waiting while the buffer is full."""
        raise NotImplementedError

    def put_blocking(self, event: dict[str, Any]) -> None:
        """Do the same without an event loop."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Wait until everything that was taken before is written."""

    def flush_blocking(self) -> None:
        """Do the same without an event loop."""

    def close(self) -> None:
        """Write what is left, and end."""
