"""Where the domains of a map stand on a page: in columns, so that most events flow from left to right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from remit.boundaries.mapping import DomainEntry, Map

WIDTH: Final = 264
ROW: Final = 22
HEAD: Final = 52
_GAP_X: Final = 120
_GAP_Y: Final = 34
_MARGIN: Final = 40
LANE: Final = 7
"""Between two arrows that go back below all boxes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line in a box: an event, with arrows that leave at the right, or a subscription, with one from the left."""

    kind: str
    name: str
    y: int


@dataclass
class Box:
    """A domain on the page."""

    domain: DomainEntry
    x: int = 0
    y: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def height(self) -> int:
        """All that its rows need."""
        return HEAD + ROW * len(self.domain.events + self.domain.subscriptions) + 12


@dataclass(frozen=True)
class Layout:
    """The boxes, and the size of the page."""

    boxes: dict[str, Box]
    width: int
    height: int
    floor: int
    """Below it is no box."""


def lay_out(drawn: Map) -> Layout:
    """Give every domain its place; the same map is always laid out alike."""
    columns: dict[int, list[Box]] = {}
    ranks = _ranks(drawn)
    for domain in drawn.domains:
        columns.setdefault(ranks[domain.name], []).append(Box(domain))
    tallest = max((_height(column) for column in columns.values()), default=0)
    boxes: dict[str, Box] = {}
    for rank, column in sorted(columns.items()):
        y = _MARGIN + (tallest - _height(column)) // 2
        for box in column:
            box.x, box.y = _MARGIN + rank * (WIDTH + _GAP_X), y
            named = [("event", each.name) for each in box.domain.events]
            named += [("subscription", each.name) for each in box.domain.subscriptions]
            box.rows = [Row(kind, name, y + HEAD + ROW * place) for place, (kind, name) in enumerate(named)]
            boxes[box.domain.name] = box
            y += box.height + _GAP_Y
    last = max(columns, default=0)
    back = sum(boxes[flow.publisher].x >= boxes[flow.subscriber].x for flow in drawn.flows if flow.publisher in boxes)
    floor = _MARGIN + tallest + 18
    return Layout(boxes, 2 * _MARGIN + (last + 1) * WIDTH + last * _GAP_X, floor + back * LANE + 18, floor)


def _height(column: list[Box]) -> int:
    return sum(box.height for box in column) + _GAP_Y * (len(column) - 1)


def _ranks(drawn: Map) -> dict[str, int]:
    """Column by column: a domain stands right of those that it hears, as far as that goes without a circle."""
    heard: dict[str, set[str]] = {domain.name: set() for domain in drawn.domains}
    for flow in drawn.flows:
        if flow.publisher in heard and flow.publisher != flow.subscriber:
            heard[flow.subscriber].add(flow.publisher)
    ranks: dict[str, int] = {}
    for name in sorted(heard, key=lambda name: (len(heard[name]), name)):
        _rank(name, heard, ranks, ())
    return {name: sorted(set(ranks.values())).index(rank) for name, rank in ranks.items()}


def _rank(name: str, heard: dict[str, set[str]], ranks: dict[str, int], way: tuple[str, ...]) -> int:
    if name not in ranks:
        before = [
            _rank(other, heard, ranks, (*way, name)) for other in sorted(heard[name]) if other not in (*way, name)
        ]
        ranks[name] = max(before, default=-1) + 1
    return ranks[name]
