"""The oracle's own book: a file that producers and handlers append to, whatever happens to the store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Ledger:
    """Lines of JSON in one file; each is one write with O_APPEND, so that no process tears another's line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"

    def write(self, what: str, job: str, **more: Any) -> None:
        """Append a line about a job."""
        line = json.dumps({"what": what, "job": job, **more}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def lines(self, what: str | None = None, job: str | None = None) -> list[dict[str, Any]]:
        """The lines of a kind, about a job, as they were written."""
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if what in (None, line["what"]) and job in (None, line["job"])]

    def count(self, what: str, job: str | None = None) -> int:
        return len(self.lines(what, job))

    def jobs(self, what: str) -> set[str]:
        """Which jobs have a line of a kind."""
        return {line["job"] for line in self.lines(what)}
