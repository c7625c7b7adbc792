"""The findings of the audit for people."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shop.demo.audit import Finding
from shop.demo.edges import Edge

MOST_FAULTS = 20
NAMES = 37
"""Columns of the longest name, so that both tables stand in line."""
WIDE = 105
"""Columns from which there is room to say where each line was looked up."""


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print both tables, what is remarkable, and what is wrong."""
    books = [finding for finding in findings if not isinstance(finding.what, Edge)]
    heard = [finding for finding in findings if isinstance(finding.what, Edge)]
    wide = console.width >= WIDE
    console.print(
        Group(Text(), _table("the books", books, wide), Text(), _table("who heard what", heard, wide), Text())
    )
    for remark in [finding.remark for finding in findings if finding.remark]:
        console.print(Padding(remark, (0, 0, 0, 2)), style="dim")
    for fault in [fault for finding in findings for fault in finding.faults][:MOST_FAULTS]:
        console.print(Padding(fault, (0, 0, 0, 2)), style="red")
    console.print()


def _table(title: str, findings: Sequence[Finding], wide: bool) -> RenderableType:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    shown.add_column(title, no_wrap=True, min_width=NAMES)
    for heading in ("found/due", "rolled back", "twice", "again"):
        shown.add_column(heading, justify="right", no_wrap=True)
    if wide:
        shown.add_column("looked up in", no_wrap=True)
    for finding in findings:
        shown.add_row(
            Text("✓", "green") if finding.clean else Text("✗", "bold red"),
            finding.name,
            Text(f"{finding.found:,}/{finding.due:,}", "bold red" if finding.lost else ""),
            _count(finding.rolled_back),
            _count(finding.twice),
            Text("-" if finding.again is None else f"{finding.again:,}", "dim"),
            *([Text(finding.proof, "dim")] if wide else []),
        )
    return shown


def _count(number: int | None) -> Text:
    return Text("-", "dim") if number is None else Text(f"{number:,}", "bold red" if number else "")
