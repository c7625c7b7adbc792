"""Log lines for people and for machines."""

import inspect
import json
import logging
import logging.config
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from remit.cli.logs import JsonLines, LogLevel, TextLines, configure
from remit.telemetry import Telemetry, one_line


@contextmanager
def unconfigured() -> Iterator[None]:
    """Logging as a process finds it that has not set it up; pytest has, once a test runs."""
    root, ours = logging.getLogger(), logging.getLogger("remit")
    handlers, levels = root.handlers, (root.level, ours.level)
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


def _say_all() -> None:
    for name in ("remit", "remit.job.depot.pack", "httpx"):
        for level in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), level)("%s of %s", level, name)


@pytest.mark.parametrize(
    "level, ours, others",
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_remits_own_and_others_are_heard_from_warning(
    level: LogLevel, ours: list[str], others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with unconfigured():
        assert configure(level, "text", None)
        _say_all()
    told = capsys.readouterr().err
    for name, levels in (("remit", ours), ("remit.job.depot.pack", ours), ("httpx", others)):
        assert re.findall(rf"(\w+) of {re.escape(name)}$", told, re.MULTILINE) == levels


def test_where_the_application_has_configured_logging_others_are_its_own_business(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with unconfigured():
        logging.basicConfig(level="INFO", format="MINE %(message)s", stream=sys.stderr)
        assert not configure("error", "text", None)
        _say_all()
    told = capsys.readouterr().err
    assert "MINE info of httpx" in told
    assert "MINE error of remit" in told
    assert "MINE info of remit" not in told


def _record(
    message: str, *args: object, level: int = logging.INFO, name: str = "remit", **extra: object
) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(name, level, "", 0, message, args, None, extra=dict(extra))


def test_text_names_time_level_process_and_job() -> None:
    line = TextLines(2, terminal=False).format(
        _record("packed %d", 7, name="remit.job.depot.pack", remit_job="depot.pack", remit_job_id="01a2")
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d INFO    \[2\] depot\.pack 01a2: packed 7", line
    )


def test_text_names_the_logger_of_others_alone() -> None:
    lines = TextLines(None, terminal=False)
    assert lines.format(_record("up")).endswith(" INFO    up")
    assert lines.format(_record("up", name="remit.wakeup")).endswith(" INFO    up")
    assert lines.format(_record("up", name="httpx")).endswith(" INFO    httpx: up")


def test_text_on_a_terminal_is_short_and_coloured() -> None:
    line = TextLines(None, terminal=True).format(_record("no", level=logging.ERROR))
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} \x1b\[31mERROR  \x1b\[0m no", line)


@pytest.mark.parametrize("lines", [TextLines(None, terminal=False), JsonLines(None)])
def test_an_exception_is_told_with_its_traceback(lines: logging.Formatter) -> None:
    record = _record("failed")
    try:
        raise LookupError("lost")
    except LookupError:
        record.exc_info = sys.exc_info()
    text = lines.format(record)
    assert "Traceback (most recent call last)" in text
    assert "LookupError: lost" in text


def test_json_holds_what_was_given_as_extra() -> None:
    line = json.loads(JsonLines(3).format(_record("paid %s", "€", level=logging.WARNING, order=7, at="mine")))
    assert line.pop("at").endswith("Z")  # a field of ours is not overwritten
    assert line == {"level": "warning", "logger": "remit", "message": "paid €", "process": 3, "order": 7}


def test_a_logging_configuration_of_the_application_does_not_silence_remit(capsys: pytest.CaptureFixture[str]) -> None:
    with unconfigured():
        logging.getLogger("remit.job.depot.pack")
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        assert configure("info", "text", None)
        logging.getLogger("remit").warning("still here")
        logging.getLogger("remit.job.depot.pack").warning("and here")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" WARNING ")[1].strip() for line in lines] == ["still here", "and here"]


@pytest.mark.parametrize(
    "error, text",
    [
        (ValueError("one\n  two\n"), "one two"),
        (ValueError(""), "ValueError"),
        (
            ValueError('relation "x" does not exist\nLINE 1: SELECT * FROM x\n              ^'),
            'relation "x" does not exist',
        ),
        (
            ValueError("(sqlite3.OperationalError) locked\n[SQL: INSERT INTO t VALUES (?)]"),
            "(sqlite3.OperationalError) locked",
        ),
        (ValueError("x" * 10_000), "x" * 499 + "…"),
    ],
)
def test_an_error_in_a_message_is_one_line_without_its_statement(error: BaseException, text: str) -> None:
    assert one_line(error) == text


def test_every_message_of_the_runtime_is_one_line_and_names_things_in_fields(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    error = ValueError("first line\nLINE 1: SELECT secret FROM t")
    given: dict[str, Any] = {
        "error": error, "state": "ready", "seconds": 1.5, "attempt": 1, "attempts": 3, "retry_in": 5.0, "count": 2,
        "deliveries": 2, "revision": 2, "version": 2, "crashed": True, "events": Counter({"shop.paid": 2}),
        "stack": "File \"a.py\", line 3, in b",
    }  # fmt: skip
    methods = [name for name in vars(Telemetry) if not name.startswith("_") and name not in ("ended", "worker")]
    assert len(methods) > 25
    caplog.set_level("INFO", logger="remit")
    for name in methods:
        method = getattr(telemetry, name)
        method(
            *(
                given.get(parameter, f"the {parameter}\nof two lines" if parameter == "reason" else parameter)
                for parameter in inspect.signature(method).parameters
            )
        )
    logged = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert len(logged) >= len(methods) - 2  # two are for debugging
    for record in logged:
        assert "\n" not in record.getMessage(), record.msg
        assert "SELECT" not in record.getMessage(), record.msg
        assert [key for key in vars(record) if key.startswith("remit_")], record.msg
