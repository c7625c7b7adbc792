"""The log of a worker process: lines for people, or JSON lines for machines, on stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from remit.telemetry import enable, log

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["text", "json"]

_PLAIN = frozenset({*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"})
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31", logging.DEBUG: "2"}


def configure(level: LogLevel, form: LogFormat, process: int | None) -> bool:
    """Set up logging. If the application has done so already, its configuration is kept, and False is returned.

    `level` applies to remit's loggers, `run.log` included; all others log from WARNING at least, since a client
    library that logs each request would hide the rest. `process` is the number of a supervised worker process, and
    part of every line.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    log.setLevel(number)
    enable()
    if root.handlers:
        return False
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    handler.setFormatter(JsonLines(process) if form == "json" else TextLines(process, terminal=terminal))
    root.addHandler(handler)
    root.setLevel(max(number, logging.WARNING))
    return True


class TextLines(logging.Formatter):
    """`2026-01-31 13:04:05.123+01:00 WARNING job failed …`; on a terminal, only the time, and colours."""

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
        if stack := record.stack_info or getattr(record, "remit_stack", None):
            text += "\n" + self.formatStack(stack).rstrip()
        return text


def _about(record: logging.LogRecord) -> str:
    """The job whose handler logs the record, and the logger, unless it is one of remit's own."""
    own = record.name.partition(".")[0] == "remit"
    if record.name == "remit":
        return ""
    job = getattr(record, "remit_job", None)
    about = f"{job} {getattr(record, 'remit_job_id', '')}: " if job else ""
    return about if own else f"{about}{record.name}: "


class JsonLines(logging.Formatter):
    """One JSON object per line; fields from `extra` have their own names."""

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
