"""Workers as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from remit.cli.output import Column, console, table
from remit.cli.wording import ago, count, line, span
from remit.runtime.operations import LeaderRecord, WorkerRecord


def worker_table(workers: Sequence[WorkerRecord], leaders: Sequence[LeaderRecord]) -> Table:
    """Workers, one a line; what troubles them stands at the end."""
    roles: dict[str, list[str]] = {}
    for leader in leaders:
        roles.setdefault(leader.holder, []).append(leader.role)
    now = datetime.now(UTC)
    columns = (
        Column("ID"),
        Column("PROCESS", least=16, folds=True),
        Column("RUNNING", justify="right"),
        Column("SEEN", 4),
        Column("UP", 3),
        Column("VERSION", 1),
        Column("HEALTH", 5),
    )
    rows = [
        (
            worker.id,
            f"{worker.host}:{worker.pid}",
            f"{worker.running:,}/{slots_of(worker):,}",
            ago(worker.seen_at, now),
            span((now - worker.started_at).total_seconds()),
            str(worker.about.get("version", "?")),
            _health(worker, roles.get(worker.id, [])),
        )
        for worker in workers
    ]
    return table(columns, rows, console().width)


def slots_of(worker: WorkerRecord) -> int:
    """How many jobs it may run at once."""
    return sum(worker.about.get("queues", {}).values())


def _health(worker: WorkerRecord, roles: Sequence[str]) -> Text:
    said = [f"leads: {', '.join(roles)}"] if roles else []
    if unknown := worker.health.get("unknown"):
        said.append(f"does not know {', '.join(unknown)}")
    if refused := worker.health.get("refused"):
        said.append(f"refused {count(refused, 'message')} to domains that may not send them")
    trouble = worker.health.get("trouble", {})
    said += [f"{part}: {what}" for part, what in trouble.items()]
    text = "; ".join(line(each) for each in said)
    return Text(text or "ok", "red" if trouble else "yellow" if unknown or refused else "green")
