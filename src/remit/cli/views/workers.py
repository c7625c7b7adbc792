"""Workers for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from remit.cli.output import Column, console, table
from remit.cli.views.cells import WIDE
from remit.cli.wording import ago, count, line, span
from remit.runtime.operations import LeaderRecord, WorkerRecord

OK = "ok"
SHORT = 16
"""Length of a health text that fits into any terminal."""


def worker_table(workers: Sequence[WorkerRecord], leaders: Sequence[LeaderRecord]) -> RenderableType:
    """Workers, one per line; problems are at the end, in a narrow terminal below."""
    roles: dict[str, list[str]] = {}
    for leader in leaders:
        roles.setdefault(leader.holder, []).append(leader.role)
    now, width = datetime.now(UTC), console().width
    healths = {each.id: _health(each, roles.get(each.id, [])) for each in workers}
    columns = [
        Column("ID"),
        Column("PROCESS", least=16, folds=True),
        Column("RUNNING", justify="right"),
        Column("SEEN", 4),
        Column("UP", 3),
        Column("VERSION", 1),
        Column("HEALTH", 5),
    ]
    rows: list[tuple[str | Text, ...]] = [
        (
            worker.id,
            f"{worker.host}:{worker.pid}",
            f"{worker.running:,}/{worker.slots:,}",
            ago(worker.seen_at, now),
            span((now - worker.started_at).total_seconds()),
            str(worker.about.get("version", "?")),
            healths[worker.id],
        )
        for worker in workers
    ]
    if width >= WIDE or all(len(health.plain) <= SHORT for health in healths.values()):
        return table(columns, rows, width)
    below = [Text.assemble(id, ": ", health) for id, health in healths.items() if health.plain != OK]
    return Group(table(columns[:-1], [row[:-1] for row in rows], width), *below)


def _health(worker: WorkerRecord, roles: Sequence[str]) -> Text:
    if worker.silent:
        return Text(f"not seen for {span(worker.silence)}", "red")
    said = list(roles)
    if worker.health.get("stopping"):
        said.append("stopping")
    if unknown := worker.health.get("unknown"):
        said.append(f"does not know {', '.join(unknown)}")
    if refused := worker.health.get("refused"):
        said.append(f"refused {count(refused, 'message')} to domains that may not send them")
    trouble = worker.health.get("trouble", {})
    said += [f"{part}: {what}" for part, what in trouble.items()]
    text = "; ".join(line(each) for each in said)
    return Text(text or OK, "red" if trouble else "yellow" if unknown or refused else "green")
