"""The results: said as they come, a table at the end, and JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders.callers import ASYNC, BLOCKING, SESSION, SQLITE3
from benchmarks.contenders.contender import Measure, Side, Store
from benchmarks.setting import Figures

BASELINE = "remit"
"""Whose figures the others are compared with."""

_COLUMNS: dict[Measure, dict[str, tuple[str, str]]] = {
    Measure.ENQUEUE: {"rate": ("jobs/s", ",.0f")},
    Measure.BULK: {"rate": ("jobs/s", ",.0f")},
    Measure.DRAIN: {"rate": ("jobs/s", ",.0f"), "peak_rss": ("peak RSS, MB", ",.0f")},
    Measure.IDLE_LATENCY: {"p50": ("p50, ms", ".2f"), "p99": ("p99, ms", ".2f")},
    Measure.BUSY_LATENCY: {"p50": ("p50, ms", ".2f"), "p99": ("p99, ms", ".2f")},
    Measure.FOOTPRINT: {
        "pss": ("PSS, MB", ",.0f"),
        "rss": ("RSS, MB", ",.0f"),
        "cpu": ("worker CPU, %", ".2f"),
        "server_cpu": ("server CPU, %", ".2f"),
    },
    Measure.PUBLISH: {
        figure: (f"{title}, µs", ",.0f")
        for figure, title in {
            **{way: f"{way}, call and commit" for way in (BLOCKING, ASYNC, SQLITE3, SESSION)},
            **{f"{way}, call": f"{way}, call" for way in (BLOCKING, ASYNC, SQLITE3, SESSION)},
            "one": "by itself, one by one",
            "many": "by itself, a thousand at once",
            "soon": "direct rail",
        }.items()
    },
    Measure.FAN_OUT: {"rate": ("deliveries/s", ",.0f")},
    Measure.EVENT_LATENCY: {"p50": ("p50, ms", ".2f"), "p99": ("p99, ms", ".2f")},
    Measure.RAIL_LOSS: {
        "window": ("the last ms", ",.0f"),
        "lost": ("events lost", ",.0f"),
        "taken": ("of", ",.0f"),
    },
    Measure.LOG: {"rate": ("deliveries/s", ",.0f"), "p50": ("p50, ms", ".2f"), "p99": ("p99, ms", ".2f")},
}
"""Which figures of a measure are shown: what they are called, and how they are written; the first is compared."""
_UPRIGHT = frozenset({Measure.PUBLISH, Measure.LOG})
"""Measures of many figures, all of which are compared: a row each."""


class Report:
    """Collects the figures of all rounds."""

    def __init__(self, contenders: Sequence[type[Side]], rounds: int) -> None:
        self._contenders = contenders
        self._rounds = rounds
        self._figures: dict[tuple[Measure, Store, str], list[Figures]] = {}
        self._console = Console(width=None if sys.stdout.isatty() else 120)
        self._machine: dict[str, Any] = {}
        self._begun = time.monotonic()
        self._failures: list[str] = []

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    def describe(self, *, postgres: str | None, fsync: float) -> None:
        """Note on what this run is made. `fsync` is in microseconds."""
        self._machine = {
            "date": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "load": [round(os.getloadavg()[0], 1)],
            "fsync_us": round(fsync),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "postgres": postgres,
            "sqlite": sqlite3.sqlite_version,
        }

    def add(self, measure: Measure, kind: type[Side], figures: Figures | Exception) -> None:
        if isinstance(figures, Exception):
            self._failures.append(f"{measure} · {kind.store} · {kind.name}: {type(figures).__name__}: {figures}")
        else:
            self._figures.setdefault((measure, kind.store, kind.name), []).append(figures)

    def say(self, what: str, figures: Figures | Exception) -> None:
        """One line, as it comes."""
        if isinstance(figures, Exception):
            text = f"{type(figures).__name__}: {figures}"
        else:
            text = " ".join(f"{name}={value:,.4g}" for name, value in figures.items())
        print(f"{time.monotonic() - self._begun:6.0f} s  {what}: {text}", flush=True)

    def show(self) -> None:
        self._machine["load"].append(round(os.getloadavg()[0], 1))
        self._console.print(f"\n{self._made_on()}", highlight=False)
        for measure in Measure:
            for store in Store:
                if kinds := [one for one in self._contenders if one.store is store and self._measured(measure, one)]:
                    self._console.print(self._table(measure, store, kinds))
        for kind in self._contenders:
            if not any(self._measured(measure, kind) for measure in Measure):
                continue
            release = f" {version(kind.distribution)}" if kind.distribution else ""
            self._console.print(f"[bold]{kind.name}[/bold]{release} ({kind.store}): {kind.settings}", highlight=False)
        for failure in self._failures:
            self._console.print(f"failed: {failure}", style="red", markup=False, highlight=False)

    def _made_on(self) -> str:
        machine = self._machine
        return (
            f"{machine['date']} · {machine['cores']} cores, load {machine['load'][0]} to {machine['load'][1]} · "
            f"fsync {machine['fsync_us']:,} µs · {machine['system']} · Python {machine['python']} · "
            f"PostgreSQL {machine['postgres']} · SQLite {machine['sqlite']} · "
            f"medians of {self._rounds}"
        )

    def _measured(self, measure: Measure, kind: type[Side]) -> bool:
        return measure in kind.measures and (measure, kind.store, kind.name) in self._figures

    def _table(self, measure: Measure, store: Store, kinds: Sequence[type[Side]]) -> Table:
        table = Table(title=f"{measure} · {store}", title_justify="left")
        if measure in _UPRIGHT:
            return self._upright(table, measure, kinds)
        table.add_column("contender")
        for title, _ in _COLUMNS[measure].values():
            table.add_column(title, justify="right")
        table.add_column("remit is", justify="right")
        for kind in kinds:
            cells = [self._cell(measure, kind, name) for name in _COLUMNS[measure]]
            table.add_row(kind.name, *cells, self._ratio(measure, kind))
        return table

    def _upright(self, table: Table, measure: Measure, kinds: Sequence[type[Side]]) -> Table:
        table.add_column("")
        for kind in kinds:
            table.add_column(kind.name, justify="right")
            if kind.name != BASELINE:
                table.add_column("remit is", justify="right")
        for figure, (title, _) in _COLUMNS[measure].items():
            if not any(self._has(measure, kind, figure) for kind in kinds):
                continue
            cells = [title]
            for kind in kinds:
                ratio = self._ratios(measure, kind).get(figure)
                cells.append(self._cell(measure, kind, figure) if self._has(measure, kind, figure) else "")
                if kind.name != BASELINE:
                    cells.append("" if ratio is None else f"{ratio:.2f} ×")  # noqa: RUF001
            table.add_row(*cells)
        return table

    def _has(self, measure: Measure, kind: type[Side], figure: str) -> bool:
        return self._measured(measure, kind) and bool(self._values(measure, kind.store, kind.name, figure))

    def _values(self, measure: Measure, store: Store, contender: str, figure: str) -> list[float]:
        rounds = self._figures.get((measure, store, contender), [])
        return [figures[figure] for figures in rounds if figure in figures]

    def _cell(self, measure: Measure, kind: type[Side], figure: str) -> str:
        values = self._values(measure, kind.store, kind.name, figure)
        form = _COLUMNS[measure][figure][1]
        return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"  # noqa: RUF001

    def _ratio(self, measure: Measure, kind: type[Side]) -> str:
        """The first figure: remit's median by this one's."""
        ratio = self._ratios(measure, kind).get(next(iter(_COLUMNS[measure])))
        return "" if ratio is None or kind.name == BASELINE else f"{ratio:.2f} ×"  # noqa: RUF001

    def _ratios(self, measure: Measure, kind: type[Side]) -> dict[str, float]:
        ratios: dict[str, float] = {}
        for figure in _COLUMNS[measure]:
            own = self._values(measure, kind.store, BASELINE, figure)
            other = self._values(measure, kind.store, kind.name, figure)
            if own and other and statistics.median(other):
                ratios[figure] = statistics.median(own) / statistics.median(other)
        return ratios

    def write_markdown(self, path: Path) -> None:
        """A table for each store: medians, and in brackets remit's divided by this one's."""
        lines = [self._made_on(), ""]
        for store in Store:
            kinds = [one for one in self._contenders if one.store is store]
            rows = [(measure, figure) for measure in Measure for figure in _COLUMNS[measure]]
            rows = [row for row in rows if any(self._has(row[0], kind, row[1]) for kind in kinds)]
            if rows:
                lines += [
                    f"| {store} | {' | '.join(kind.name for kind in kinds)} |",
                    "| --- |" + " ---: |" * len(kinds),
                ]
                for measure, figure in rows:
                    cells = [self._brief(measure, kind, figure) for kind in kinds]
                    lines.append(f"| {measure}, {_COLUMNS[measure][figure][0]} | {' | '.join(cells)} |")
                lines.append("")
        path.write_text("\n".join(lines))

    def _brief(self, measure: Measure, kind: type[Side], figure: str) -> str:
        if not self._has(measure, kind, figure):
            return "–"  # noqa: RUF001
        median = statistics.median(self._values(measure, kind.store, kind.name, figure))
        text = f"{median:{_COLUMNS[measure][figure][1]}}"
        ratio = self._ratios(measure, kind).get(figure)
        return text if ratio is None or kind.name == BASELINE else f"{text} ({ratio:.2f})"

    def write_json(self, path: Path) -> None:
        results = [
            {
                "measure": measure,
                "store": kind.store,
                "contender": kind.name,
                "version": version(kind.distribution) if kind.distribution else None,
                "settings": kind.settings,
                "median": {
                    figure: statistics.median(self._values(measure, kind.store, kind.name, figure))
                    for figure in self._figures[measure, kind.store, kind.name][0]
                },
                "remit_by_this": self._ratios(measure, kind),
                "rounds": self._figures[measure, kind.store, kind.name],
            }
            for measure in Measure
            for kind in self._contenders
            if self._measured(measure, kind)
        ]
        document = {"machine": self._machine, "rounds": self._rounds, "results": results}
        path.write_text(json.dumps(document, indent=2) + "\n")
