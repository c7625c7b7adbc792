"""Log lines for people and for machines."""

import json
import logging
import re
import sys

import pytest

from remit.cli.logs import JsonLines, TextLines


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
    assert lines.format(_record("up", name="remit.bell")).endswith(" INFO    up")
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
