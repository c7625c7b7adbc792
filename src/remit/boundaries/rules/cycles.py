"""`domain-cycle`: domains that depend on each other in a cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from remit.boundaries.model import Crossing, Model
from remit.boundaries.violations import Violation


def domain_cycle(model: Model) -> Iterator[Violation]:
    """Dependencies go one way; events may go both, so handlers that import messages do not count here."""
    edges: dict[str, dict[str, list[Crossing]]] = {}
    for each in model.crossings:
        if each.dependency:
            edges.setdefault(each.user.name, {}).setdefault(each.owner.name, []).append(each)
    for circle in _circles(edges):
        links = [edges[user][owner] for user, owner in zip(circle, [*circle[1:], circle[0]], strict=True)]
        weakest = min(links, key=lambda crossings: (len(crossings), crossings[0].user.name))[0]
        said = "; ".join(
            f"{link[0].user.name} imports {link[0].imported} ({link[0].source.file}:{link[0].line}"
            f"{f', and {len(link) - 1} more' if len(link) > 1 else ''})"
            for link in links
        )
        yield Violation(
            "domain-cycle",
            weakest.source.file,
            weakest.line,
            weakest.user.name,
            " -> ".join([*circle, circle[0]]),
            f"{' → '.join([*circle, circle[0]])} is a cycle: {said}",
            f"Remove the weakest dependency: let {weakest.owner.name} publish an event to which {weakest.user.name} "
            f"subscribes, or let {weakest.user.name} publish one, or move their common code to a domain below them.",
        )


def _circles(edges: Mapping[str, Mapping[str, object]]) -> Iterator[list[str]]:
    """One shortest cycle for each group of domains, from its first name on."""
    seen: set[str] = set()
    for name in sorted(edges):
        if name not in seen and (circle := circle_through(name, edges)):
            seen |= {other for other in _reached(name, edges) if name in _reached(other, edges)}
            yield circle


def _reached(start: str, edges: Mapping[str, Mapping[str, object]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, ())
    return found


def circle_through(start: str, edges: Mapping[str, Mapping[str, object]]) -> list[str] | None:
    """A shortest path from a name back to it; None if there is none."""
    ways = deque([[start]])
    seen = {start}
    while ways:
        way = ways.popleft()
        for name in sorted(edges.get(way[-1], ())):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None
