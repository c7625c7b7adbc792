"""The log of a worker process: lines for people, or JSON lines for machines, on stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from remit.telemetry import log

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["text", "json"]

_PLAIN = frozenset({*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"})
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31", logging.DEBUG: "2"}


def configure(level: LogLevel, form: LogFormat, process: int | None) -> bool:
    """Set up logging, unless the application has done so: then its way is kept, and the answer is False.

    `level` is remit's own, handlers' `run.log` included. Others are heard from WARNING: a client that tells each of its
    requests would be all that there is to read. `process` is the number of a supervised worker process, which stands in
    every line.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    log.setLevel(number)
    if root.handlers:
        return False
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    handler.setFormatter(JsonLines(process) if form == "json" else TextLines(process, terminal=terminal))
    root.addHandler(handler)
    root.setLevel(max(number, logging.WARNING))
    return True


class TextLines(logging.Formatter):
    """`2026-01-31 13:04:05.123+01:00 WARNING job failed …`; on a terminal, the time alone, and colours."""

    def __init__(self, process: int | None, *, terminal: bool) -> None:
        super().__init__()
        self._process = f"[{process}] " if process is not None else ""
        self._terminal = terminal

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        when = f"{at:%H:%M:%S}.{int(record.msecs):03d}" if self._terminal else at.isoformat(" ", "milliseconds")
        level = f"{record.levelname:<7}"
        if self._terminal and (colour := _COLOURS.get(record.levelno)):
            level = f"\x1b[{colour}m{level}\x1b[0m"
        text = f"{when} {level} {self._process}{_about(record)}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            text += "\n" + self.formatStack(record.stack_info)
        return text


def _about(record: logging.LogRecord) -> str:
    """Which job logs it, or which logger."""
    job = getattr(record, "remit_job", None)
    if job is not None:
        return f"{job} {getattr(record, 'remit_job_id', '')}: "
    return "" if record.name.partition(".")[0] == "remit" else f"{record.name}: "


class JsonLines(logging.Formatter):
    """One JSON object a line; what the caller gave as `extra` is in it under its own names."""

    def __init__(self, process: int | None) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process is not None:
            line["process"] = self._process
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)
