"""What a person sees: a live picture in a terminal, an occasional line elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from remit import State
from remit.client import QueueRecord
from shop.demo.outside import PACKED, TRIED_AGAIN
from shop.demo.story import Event, Story

LATEST = 6
"""Events that the live picture shows."""
SELDOM = 3.0
"""Seconds between two lines where there is no terminal."""


class Display(Protocol):
    def update(self) -> None:
        """Look at the story again."""
        ...


@contextmanager
def display(story: Story, console: Console) -> Iterator[Display]:
    """The display that fits the console."""
    if not console.is_terminal:
        yield Lines(story, console)
        return
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        yield Picture(story, live)
    for event in story.events:  # what happened stays on the screen when the picture goes
        console.print(_event(event))


class Picture:
    """Redrawn several times a second."""

    def __init__(self, story: Story, live: Live) -> None:
        self._story = story
        self._live = live

    def update(self) -> None:
        self._live.update(picture(self._story), refresh=True)


class Lines:
    """Events as they come, and the state of things now and then."""

    def __init__(self, story: Story, console: Console) -> None:
        self._story = story
        self._console = console
        self._told = 0
        self._last = 0.0

    def update(self) -> None:
        story = self._story
        for event in story.events[self._told :]:
            self._console.print(_event(event), soft_wrap=True)
        self._told = len(story.events)
        if story.seconds - self._last >= SELDOM and story.queues:
            self._last = story.seconds
            self._console.print(_event(Event(story.seconds, _in_a_line(story), "dim")), soft_wrap=True)


def picture(story: Story) -> RenderableType:
    """The whole picture; it fits 80 columns and 24 lines."""
    return Group(
        _head(story), _progress(story), Text(), _queues(story), Text(), _workers(story), Text(), *_latest(story)
    )


def _head(story: Story) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text.assemble(("remit", "bold"), " · the shop on ", story.store), Text(f"{story.seconds:.1f} s"))
    head.add_row(Text(story.phase, "yellow", overflow="ellipsis"), Text())
    return head


def _progress(story: Story) -> RenderableType:
    answers, total = story.customers.answers, story.customers.total
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    counted = f"{answers.count:,} of {total:,}, {len(answers.refused)} refused"
    line.add_row("orders in", ProgressBar(total, answers.count, complete_style="green"), counted)
    return line


def _queues(story: Story) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="bold")
    table.add_column("queue", no_wrap=True)
    for heading in ("ready", "running", "retry", "dead", "done"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    table.add_column("counted outside", justify="right", no_wrap=True)
    for name, outside in _counted_outside(story):
        queue = story.queues.get(name) or QueueRecord(name, 1.0)
        table.add_row(
            name,
            _number(queue.ready),
            _number(queue.running, "cyan"),
            _number(queue.scheduled, "yellow"),
            _number(queue.dead, "bold red"),
            _number(queue.ended.get(State.COMPLETED, 0), "green"),
            outside,
        )
    return table


def _counted_outside(story: Story) -> list[tuple[str, Text]]:
    seen = story.seen
    packed = sum(seen.answers[answer] for answer in PACKED)
    again = sum(seen.answers[answer] for answer in TRIED_AGAIN)
    parcels = Text.assemble(f"{packed:,} parcels", (f", {again} failed", "yellow" if again else "dim"))
    return [
        ("orders.payments", Text(f"{seen.payments:,} in the ledger")),
        ("orders.invoices", Text(f"{seen.invoices:,} files")),
        ("orders.mails", Text(f"{seen.mails:,} e-mails")),
        ("orders.warehouse", parcels),
        ("reports.daily", Text(f"{seen.reports:,} reports")),
    ]


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _workers(story: Story) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    grid.add_row(*(_worker(story, place) for place in range(len(story.workers))))
    return grid


def _worker(story: Story, place: int) -> Text:
    child = story.workers[place]
    running = story.running.get(child.pid)
    if not child.alive:
        state = ("✗ killed", "red") if child.leaving else ("✗ ended", "red")
    elif running is None:
        state = ("… starting", "dim")
    else:
        state = (f"● {running} running", "cyan" if running else "dim")
    return Text.assemble(f"{child.name} ", (f"pid {child.pid}\n", "dim"), state)


def _latest(story: Story) -> list[RenderableType]:
    latest = [_event(event) for event in story.events[-LATEST:]]
    for line in latest:
        line.no_wrap, line.overflow = True, "ellipsis"
    return [*latest]


def _event(event: Event) -> Text:
    return Text.assemble((f"{event.at:5.1f} s  ", "dim"), (event.text, event.style))


def _in_a_line(story: Story) -> str:
    queues, seen = story.queues.values(), story.seen
    waiting = sum(queue.ready for queue in queues)
    running = sum(queue.running for queue in queues)
    retry = sum(queue.scheduled for queue in queues)
    done = sum(queue.ended.get(State.COMPLETED, 0) for queue in queues)
    return (
        f"orders {story.customers.answers.count:,}/{story.customers.total:,} · "
        f"jobs: {waiting:,} ready, {running} running, {retry} to retry, {done:,} done · "
        f"outside: {seen.payments:,} payments, {seen.invoices:,} invoices, {seen.mails:,} e-mails, "
        f"{sum(seen.answers[answer] for answer in PACKED):,} parcels, {seen.reports} reports"
    )
