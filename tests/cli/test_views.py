"""Records as people see them, where a store is not needed to tell."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from remit.cli.views.events import outbox_line
from remit.cli.views.workers import worker_table
from remit.outbox.model import OutboxRecord
from remit.runtime.operations import WorkerRecord


def health_of(**health: Any) -> tuple[str, str]:
    """What the last column says, and its colour."""
    now = datetime.now(UTC)
    record = WorkerRecord("w", now, now, "box", 1, {"version": "1"}, {"ok": True, **health}, 0)
    table = worker_table([record], [])
    assert isinstance(table, Table)
    [cell] = list(table.columns[-1].cells)
    assert isinstance(cell, Text)
    return cell.plain, str(cell.style)


@pytest.mark.parametrize(
    "health, words, colour",
    [
        ({}, "ok", "green"),
        ({"refused": 1}, "refused 1 message to domains that may not send them", "yellow"),
        ({"unknown": ["a.b v1"]}, "does not know a.b v1", "yellow"),
        (
            {"refused": 2, "trouble": {"relay": "gone"}},
            "refused 2 messages to domains that may not send them; relay: gone",
            "red",
        ),
    ],
)
def test_health_names_what_is_wrong(health: dict[str, Any], words: str, colour: str) -> None:
    assert health_of(**health) == (words, colour)


@pytest.mark.parametrize(
    "record, words, loud",
    [
        (OutboxRecord(0, None, 0, 0), "outbox: nothing pending", []),
        (OutboxRecord(1, 0.3, 0, 0), "outbox: 1 event pending, the oldest for 0.3 s", [""]),
        (OutboxRecord(1200, 90.0, 0, 0), "outbox: 1,200 events pending, the oldest for 90 s", ["yellow"]),
        (OutboxRecord(0, None, 2, 0), "outbox: nothing pending; 2 dead events", ["red"]),
        (OutboxRecord(0, None, 0, 1), "outbox: nothing pending; 1 unknown event", ["yellow"]),
    ],
)
def test_the_outbox_is_loud_when_the_relay_is_late_or_gave_up(
    record: OutboxRecord, words: str, loud: list[str]
) -> None:
    text = outbox_line(record)
    assert text.plain == words
    assert [str(span.style) for span in text.spans] == [each for each in loud if each]


def test_a_worker_that_was_not_seen_for_its_lease_has_no_slots_and_says_so() -> None:
    now = datetime.now(UTC)
    about = {"version": "1", "lease": 10.0, "queues": {"depot.parcels": 4}}
    alive, silent = (
        WorkerRecord(id, now, now, "box", 1, about, {"ok": True}, 1, age) for id, age in (("a", 2.0), ("b", 34.0))
    )
    assert (alive.slots, silent.slots) == (4, 0)
    assert (alive.silent, silent.silent) == (False, True)
