"""Keeps what handlers log, in a table of its own, a batch a second; a job's row is never touched for it."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

from remit.db.transaction import Database, Role
from remit.jobs import operations
from remit.runtime.handlers.outcomes import LONGEST_MESSAGE, storable
from remit.runtime.loop import StoreLoop
from remit.telemetry import Telemetry

INTERVAL = 1.0
BATCH = 500
MOST_WAITING = 20_000
"""Lines that wait at the most; beyond, the oldest are not kept."""


class RunLog(StoreLoop):
    """`write` may be called from any thread."""

    name = "run-log"
    role = Role.LEADER

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        super().__init__(database, telemetry)
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)

    def write(self, job: str, attempt: int, record: logging.LogRecord) -> None:
        self._lines.append(
            {
                "job": job,
                "attempt": attempt,
                "logged_at": int(record.created * 1_000_000),
                "level": record.levelno,
                "message": text_of(record),
            }
        )

    async def turn(self) -> float:
        await self.flush()
        return INTERVAL

    async def flush(self) -> None:
        while self._lines:
            batch = [self._lines[place] for place in range(min(BATCH, len(self._lines)))]
            await self.ask(partial(operations.log, lines=batch))
            for _ in batch:
                self._lines.popleft()


def text_of(record: logging.LogRecord) -> str:
    """The message of a record as it is kept; a wrong number of arguments is no reason to lose it."""
    try:
        message = record.getMessage()
    except Exception as error:
        message = f"{record.msg} (its arguments do not fit: {error})"
    return storable(message, LONGEST_MESSAGE)
