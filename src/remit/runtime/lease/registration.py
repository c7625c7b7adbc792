"""The row of a worker, by which the others know it."""

from __future__ import annotations

import json
import os
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from remit.db.transaction import Database
from remit.runtime import operations


class Registration:
    """Enters an incarnation, and signs it off. `about` is what the row says of the worker."""

    def __init__(self, database: Database, about: dict[str, Any]) -> None:
        self._database = database
        self._about = json.dumps({"version": _version(), **about})

    async def enter(self, worker: str) -> None:
        """Register under an id that was never used."""
        host, pid = socket.gethostname(), os.getpid()
        await self._database.run(
            lambda tx: operations.register(tx, worker, host=host, pid=pid, about=self._about), atomic=False
        )

    async def leave(self, worker: str) -> None:
        """Sign off; what is still held is the rescuer's at once."""
        await self._database.run(lambda tx: operations.deregister(tx, worker), atomic=False)


def _version() -> str:
    try:
        return version("remit")
    except PackageNotFoundError:
        return "unknown"
