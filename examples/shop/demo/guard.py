"""Sees to it that nothing outlives the demo, even if the demo is killed with `kill -9`.

The guard leads the process group to which all children of the demo belong from their birth. It reads a pipe whose other
end only the demo holds: a farewell on it, and the guard leaves; its end without a farewell, and the guard kills the
group, removes the folder and drops the schemas.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Guard:
    """The demo's end of the pipe."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def post(cls, folder: Path) -> "Guard":
        """Start a guard over a folder."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shop.demo.guard", stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0
        )
        guard = cls(process)
        guard._say({"folder": str(folder)})
        return guard

    @property
    def group(self) -> int:
        """The process group that children are to be born into."""
        return self._process.pid

    def watch_schemas(self, url: str, schemas: Sequence[str]) -> None:
        """Let the guard drop these too."""
        self._say({"url": url, "schemas": list(schemas)})

    async def dismiss(self) -> None:
        """All is tidied up."""
        self._say({"farewell": True})
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    def _say(self, word: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(word).encode() + b"\n")


def drop_schemas(url: str, schemas: Sequence[str]) -> None:
    """Drop schemas and all that is in them."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def main() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    estate: dict[str, Any] = {}
    for line in sys.stdin.buffer:
        estate |= json.loads(line)
    if "farewell" in estate or os.fork() != 0:
        return
    group = os.getpgrp()
    os.setpgid(0, 0)  # out of the group that is about to end
    os.killpg(group, signal.SIGKILL)
    shutil.rmtree(estate["folder"], ignore_errors=True)
    if "url" in estate:
        drop_schemas(estate["url"], estate["schemas"])


if __name__ == "__main__":
    main()
