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
from shop.demo.edges import EDGES
from shop.demo.story import Happening, Heard, Story

ROWS_BESIDE = 22
"""Lines of the picture beside the latest happenings."""
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
    for happening in story.happenings:  # what happened stays on the screen when the picture goes
        console.print(_line(happening))


class Picture:
    """Redrawn several times a second."""

    def __init__(self, story: Story, live: Live) -> None:
        self._story = story
        self._live = live

    def update(self) -> None:
        latest = max(2, min(8, self._live.console.height - ROWS_BESIDE))
        self._live.update(picture(self._story, latest), refresh=True)


class Lines:
    """Happenings as they come, and the state of things now and then."""

    def __init__(self, story: Story, console: Console) -> None:
        self._story = story
        self._console = console
        self._told = 0
        self._last = 0.0

    def update(self) -> None:
        story = self._story
        for happening in story.happenings[self._told :]:
            self._console.print(_line(happening), soft_wrap=True)
        self._told = len(story.happenings)
        if story.seconds - self._last >= SELDOM and story.customers.answers.count:
            self._last = story.seconds
            self._console.print(_line(Happening(story.seconds, _in_a_line(story), "dim")), soft_wrap=True)


def picture(story: Story, latest: int) -> RenderableType:
    """The whole picture; it fits 80 columns and 24 lines."""
    parts: list[RenderableType] = [_head(story), _flow(story), Text(), _deliveries(story), Text(), _workers(story)]
    return Group(*parts, Text(), *_latest(story, latest))


def _head(story: Story) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text.assemble(("remit", "bold"), " · the shop on ", story.store), Text(f"{story.seconds:.1f} s"))
    head.add_row(Text(story.phase, "yellow", overflow="ellipsis"), Text())
    return head


def _flow(story: Story) -> RenderableType:
    answers, total, relayed = story.customers.answers, story.customers.total, story.relayed
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    counted = f"{answers.count:,} of {total:,}, {len(answers.refused)} refused"
    line.add_row("orders in", ProgressBar(total, answers.count, complete_style="green"), counted)
    out = relayed.published - relayed.pending
    waiting = f"{relayed.pending:,} wait, lag {relayed.lag:.1f} s" if relayed.pending else "none waits"
    line.add_row(
        "events out",
        ProgressBar(max(1, relayed.published), out, complete_style="cyan", finished_style="cyan"),
        f"{out:,} of {relayed.published:,}, {waiting}",
    )
    return line


def _deliveries(story: Story) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="bold")
    table.add_column("event", no_wrap=True)
    table.add_column("delivered to", no_wrap=True)
    for heading in ("wait", "retry", "done"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    table.add_column("counted outside", justify="right", no_wrap=True)
    before = ""
    for edge in EDGES:
        heard = story.heard.get(edge.subscription) or Heard()
        table.add_row(
            Text(edge.event, "dim" if edge.event == before else ""),
            edge.subscription,
            _number(heard.under_way, "cyan"),
            _number(heard.retrying, "yellow"),
            _number(heard.done, "green"),
            Text(
                f"{story.outside[edge.effect]:,} {edge.effect}" if edge.effect else "",
                style="" if heard.done else "dim",
            ),
        )
        before = edge.event
    return table


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _workers(story: Story) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    cells = [_worker(story, place) for place in range(len(story.workers))]
    grid.add_row(_jobs(story), *cells)
    return grid


def _jobs(story: Story) -> Text:
    waiting = sum(queue.ready for queue in story.queues)
    retry = sum(queue.scheduled for queue in story.queues)
    dead = sum(queue.dead for queue in story.queues)
    return Text.assemble(
        f"{_done(story):,} jobs done\n",
        (f"{waiting:,} ready, {retry:,} later, ", "dim"),
        (f"{dead} dead", "bold red" if dead else "dim"),
    )


def _done(story: Story) -> int:
    return sum(queue.ended.get(State.COMPLETED, 0) for queue in story.queues)


def _worker(story: Story, place: int) -> Text:
    child = story.workers[place]
    running = story.running.get(child.pid)
    if not child.alive:
        state = ("✗ killed", "red") if child.leaving else ("✗ ended", "red")
    elif running is None:
        state = ("… starting", "dim")
    else:
        state = (f"● {running} running", "cyan" if running else "dim")
    return Text.assemble(f"{child.name} ", (f"{child.pid}\n", "dim"), state)


def _latest(story: Story, count: int) -> list[RenderableType]:
    latest = [_line(happening) for happening in story.happenings[-count:]]
    for line in latest:
        line.no_wrap, line.overflow = True, "ellipsis"
    return [*latest]


def _line(happening: Happening) -> Text:
    return Text.assemble((f"{happening.at:5.1f} s  ", "dim"), (happening.text, happening.style))


def _in_a_line(story: Story) -> str:
    relayed = story.relayed
    under_way = sum(heard.under_way for heard in story.heard.values())
    done = sum(heard.done for heard in story.heard.values())
    return (
        f"orders {story.customers.answers.count:,}/{story.customers.total:,} · "
        f"events {relayed.published:,} (lag {relayed.lag:.1f} s) · "
        f"deliveries {done:,} + {under_way:,} open · jobs {_done(story):,}"
    )
