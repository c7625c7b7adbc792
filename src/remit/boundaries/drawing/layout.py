"""The positions of the domains of a map on a page, and of the lines between them, which never run behind a box.

Domains are placed in columns, so that most events flow from left to right. Between two columns is a gutter with a track
for each event that passes there. A line to the next column runs only in their gutter; any other leaves by its gutter,
runs in a lane above all boxes (to the right) or below all of them (to the left), and enters by the target's gutter.
Lines of one event share their tracks and lanes, and lines of two events only cross.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from remit.boundaries.mapping import DomainEntry, Flow, Map

WIDTH: Final = 264
ROW: Final = 22
HEAD: Final = 52
_FOOT: Final = 12
_GAP_Y: Final = 24
_MARGIN: Final = 24
_TRACK: Final = 9
"""Distance of two tracks, and of two lanes."""
_EDGE: Final = 22
"""Distance of a box and the nearest track, with room for the head of an arrow."""

_ABOVE, _BESIDE, _BELOW = "above", "beside", "below"


class Point(NamedTuple):
    """A place on the page."""

    x: int
    y: int


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
    column: int = 0
    x: int = 0
    y: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def height(self) -> int:
        """The height of all its rows."""
        return HEAD + ROW * len(self.domain.events + self.domain.subscriptions) + _FOOT


@dataclass(frozen=True)
class Route:
    """The path of one event to one subscription: the corners of a line of horizontal and vertical parts."""

    flow: Flow
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """The boxes, the lines between them, and the size of the page."""

    boxes: dict[str, Box]
    routes: tuple[Route, ...]
    width: int
    height: int


def lay_out(drawn: Map) -> Layout:
    """Return the position of every domain and the paths of every event; the same map always has the same layout."""
    columns = _columns(drawn)
    boxes = {box.domain.name: box for column in columns for box in column}
    drawn_events = {event.name for box in boxes.values() for event in box.domain.events}
    lines = [
        _Line(flow, boxes[flow.publisher], boxes[flow.subscriber]) for flow in drawn.flows if flow.event in drawn_events
    ]
    gutters = [_Gutter() for _ in range(len(columns) + 1)]
    for line in lines:
        gutters[line.start.column + 1].leaving[line.flow.event] = line.side
        if line.side != _BESIDE:
            gutters[line.end.column].coming[line.flow.event, line.side] = None
    above, below = (_lanes(line for line in lines if line.side == side) for side in (_ABOVE, _BELOW))
    top = _MARGIN + _TRACK * _count(above) + (_EDGE if above else 0)
    bottom = top + _place_in_columns(columns, top)
    x = _MARGIN
    for before, gutter, column in zip([[], *columns], gutters, [*columns, []], strict=True):
        x = gutter.place(x, {row.name: row.y for box in before for row in box.rows})
        for box in column:
            box.x = x
        x += WIDTH if column else 0
    heights = {(event, _ABOVE): _MARGIN + _TRACK * lane for event, lane in above.items()}
    heights |= {(event, _BELOW): bottom + _EDGE + _TRACK * lane for event, lane in below.items()}
    routes = tuple(Route(line.flow, line.points(gutters, heights)) for line in lines)
    height = bottom + (_EDGE + _TRACK * _count(below) if below else 0) + _MARGIN
    return Layout(boxes, routes, x + _MARGIN, height)


@dataclass(frozen=True, slots=True)
class _Line:
    """One flow between two boxes, and on which side of the boxes between them it runs."""

    flow: Flow
    start: Box
    end: Box

    @property
    def side(self) -> str:
        columns = self.end.column - self.start.column
        return _BESIDE if columns == 1 else _ABOVE if columns > 1 else _BELOW

    def points(self, gutters: list[_Gutter], heights: dict[tuple[str, str], int]) -> tuple[Point, ...]:
        event = self.flow.event
        x1, y1 = self.start.x + WIDTH, _y(self.start, "event", event)
        x2, y2 = self.end.x, _y(self.end, "subscription", self.flow.subscription)
        out = gutters[self.start.column + 1].tracks[event, ""]
        if self.side == _BESIDE:
            corners = [(x1, y1), (out, y1), (out, y2), (x2, y2)]
        else:
            lane, into = heights[event, self.side], gutters[self.end.column].tracks[event, self.side]
            corners = [(x1, y1), (out, y1), (out, lane), (into, lane), (into, y2), (x2, y2)]
        return tuple(Point(x, y) for x, y in corners)


@dataclass
class _Gutter:
    """The room between two columns: a track for each event that leaves the left one, or comes into the right one."""

    leaving: dict[str, str] = field(default_factory=dict)
    coming: dict[tuple[str, str], None] = field(default_factory=dict)
    tracks: dict[tuple[str, str], int] = field(default_factory=dict)

    def place(self, x: int, heights: dict[str, int]) -> int:
        """Set the position of each track, in an order with few crossings; return the end of the gutter."""
        leaving = sorted(self.leaving, key=lambda event: (heights.get(event, 0) * _sign(self.leaving[event]), event))
        coming = sorted(self.coming)
        x += _EDGE
        for place, track in enumerate([*((event, "") for event in leaving), *coming]):
            self.tracks[track] = x + _TRACK * place
        return x + _TRACK * len(self.tracks) + _EDGE if self.tracks else x


def _sign(side: str) -> int:
    """A line that goes up crosses fewer others right of those that leave above it; one that goes down, left of them."""
    return 1 if side == _ABOVE else -1


def _y(box: Box, kind: str, name: str) -> int:
    return next(row.y for row in box.rows if (row.kind, row.name) == (kind, name)) + ROW // 2


def _lanes(lines: Iterable[_Line]) -> dict[str, int]:
    """A lane for each event; events that are nowhere in the same gutter or column share one."""
    spans: dict[str, tuple[int, int]] = {}
    for line in lines:
        first, last = sorted((line.start.column + 1, line.end.column))
        known = spans.get(line.flow.event, (first, last))
        spans[line.flow.event] = min(first, known[0]), max(last, known[1])
    lanes: dict[str, int] = {}
    ends: list[int] = []
    for event, (first, last) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
        lane = next((lane for lane, end in enumerate(ends) if end < first), len(ends))
        ends[lane:] = [last, *ends[lane + 1 :]]
        lanes[event] = lane
    return lanes


def _count(lanes: dict[str, int]) -> int:
    return max(lanes.values(), default=-1) + 1


# --- the boxes


def _columns(drawn: Map) -> list[list[Box]]:
    ranks = _ranks(drawn)
    columns: list[list[Box]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for domain in drawn.domains:
        columns[ranks[domain.name]].append(Box(domain, ranks[domain.name]))
    return columns


def _place_in_columns(columns: list[list[Box]], top: int) -> int:
    """Set the heights of boxes and rows; return the height of the tallest column.

    Rows of neighbouring columns are offset by half a row, so that their lines never overlap.
    """
    tallest = max((_height(column) for column in columns), default=0) + ROW
    for number, column in enumerate(columns):
        middle = (tallest - ROW - _height(column)) // 2
        y = top + middle - middle % ROW + (ROW // 2 if number % 2 else 0)
        for box in column:
            box.y = y
            named = [("event", each.name) for each in box.domain.events]
            named += [("subscription", each.name) for each in box.domain.subscriptions]
            box.rows = [Row(kind, name, y + HEAD + ROW * place) for place, (kind, name) in enumerate(named)]
            y += box.height + _GAP_Y
    return tallest


def _height(column: list[Box]) -> int:
    return sum(box.height for box in column) + _GAP_Y * (len(column) - 1)


def _ranks(drawn: Map) -> dict[str, int]:
    """Column by column: a domain is to the right of those whose events it gets, unless there is a cycle."""
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
