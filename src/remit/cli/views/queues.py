"""Queues for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, table
from remit.cli.views.cells import QUIET, age, number
from remit.cli.wording import ago, line, rate
from remit.client import QueueRecord


def queue_table(queues: Sequence[QueueRecord], slots: dict[str, int] | None = None) -> Table:
    """Queues, one per line, with their activity in the last seconds."""
    columns = (
        Column("QUEUE", least=20, folds=True),
        Column("READY", justify="right"),
        Column("OLDEST", 4, justify="right"),
        Column("SCHEDULED", 3, justify="right"),
        Column("RUNNING", justify="right"),
        Column("LONGEST", 1, justify="right"),
        Column("RETRYING", 4, justify="right"),
        Column("DEAD", justify="right"),
        Column("FAILED", 5, justify="right"),
        Column("DONE", 5, justify="right"),
        Column("", 2),
    )
    return table(columns, [_queue_row(each, slots or {}) for each in queues], console().width)


def _queue_row(queue: QueueRecord, slots: dict[str, int]) -> tuple[str | Text, ...]:
    running = f"{queue.running:,}/{slots[queue.name]:,}" if slots.get(queue.name) else f"{queue.running:,}"
    return (
        queue.name,
        number(queue.ready, "cyan"),
        age(queue.oldest_ready),
        number(queue.scheduled),
        Text(running, "yellow" if queue.running else QUIET),
        age(queue.longest_run),
        number(queue.retrying, "yellow"),
        number(queue.dead, "red"),
        Text(rate(queue.failed / queue.window), "yellow" if queue.failed else QUIET),
        Text(rate(queue.rate), "green" if queue.rate else QUIET),
        _paused(queue),
    )


def _paused(queue: QueueRecord) -> Text:
    if queue.paused_at is None:
        return Text("")
    by = f" by {line(queue.paused_by)}" if queue.paused_by else ""
    return Text(f"paused{by}, {ago(queue.paused_at)}", "magenta")
