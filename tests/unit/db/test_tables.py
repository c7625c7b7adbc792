"""The layers hold in SQL too: a statement touches the tables of its own feature and of those below it alone."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from remit.db.statements import Dialect, read, statements

JOBS = {"job", "failure", "log", "queue", "meta"}
OUTBOX = {"event", "event_type", "event_archive", "subscription", "delivery", "turn", "hearing", "outstanding"}
WORKERS = {"worker", "leader"}
EXECUTION = {"lost_lease", "lease_lost"}
REACH = {
    "remit.jobs": JOBS,
    "remit.outbox": JOBS | OUTBOX,
    "remit.execution": JOBS | OUTBOX | WORKERS | EXECUTION,
    "remit.runtime": JOBS | OUTBOX | WORKERS,
    "remit.client": JOBS | OUTBOX,
}
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
_DEFINED = re.compile(r"^CREATE (?:TABLE|VIEW) remit[._](\w+)", re.MULTILINE)
_LITERAL = re.compile(r"'[^']*'")


def tables(dialect: Dialect) -> set[str]:
    """The tables and views of the schema."""
    text = "".join(read("remit.schema", f"{dialect}/{step}") for step in ("0001_jobs.sql", "0002_events.sql"))
    return set(_DEFINED.findall(text))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_table_belongs_to_a_feature(dialect: Dialect) -> None:
    assert tables(dialect) <= JOBS | OUTBOX | WORKERS | EXECUTION


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("package", REACH)
def test_no_statement_reaches_above_its_feature(package: str, dialect: Dialect) -> None:
    known = tables(dialect)
    above = {
        name: reached
        for name, text in statements(package, dialect).items()
        if (reached := (set(re.findall(r"\bremit[._](\w+)", _LITERAL.sub("", text))) & known) - REACH[package])
    }
    assert above == {}, "move the statement to the room of the highest feature that it joins"
