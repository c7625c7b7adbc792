"""The map as one self-contained page: no network, no server. Every name in it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources

from remit.boundaries.drawing.layout import HEAD, ROW, WIDTH, Box, Layout, Point, Route, Row, lay_out
from remit.boundaries.mapping import DomainEntry, EventEntry, FieldEntry, Map, QueueEntry, SubscriptionEntry
from remit.boundaries.sources import OWN

_ROUND = 6


def draw(drawn: Map, title: str = "Domains") -> str:
    """The page: a picture of the domains and their events, and below it everything in searchable lists."""
    layout = lay_out(drawn)
    numbers = (
        (len(drawn.domains), "domains"),
        (sum(len(each.jobs) for each in drawn.domains), "jobs"),
        (sum(len(each.events) for each in drawn.domains), "events"),
        (sum(len(each.subscriptions) for each in drawn.domains), "subscriptions"),
        (sum(len(each.queues) for each in drawn.domains), "queues"),
    )
    parts = {
        "title": escape(title),
        "counts": "".join(f"<li><b>{number}</b> {noun}</li>" for number, noun in numbers),
        "picture": _picture(drawn, layout),
        "cards": "\n".join(_card(domain) for domain in drawn.domains),
    }
    page = (resources.files("remit.boundaries.drawing") / "page.html").read_text("utf-8")
    pieces = page.split("@@")  # text, name, text, name, …: inserted text is never scanned again
    return "".join(piece if place % 2 == 0 else parts[piece] for place, piece in enumerate(pieces))


# --- the picture


def _picture(drawn: Map, layout: Layout) -> str:
    arrows = [_arrow(route) for route in layout.routes]
    boxes = [_box(box) for box in layout.boxes.values()]
    label = f"{len(drawn.domains)} domains and {len(drawn.flows)} subscriptions between them"
    return (
        f'<svg viewBox="0 0 {layout.width} {layout.height}" width="{layout.width}" height="{layout.height}" role="img" '
        f'aria-label="{label}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>\n'
        + "\n".join([*arrows, *boxes])
        + "\n</svg>"
    )


def _arrow(route: Route) -> str:
    flow = route.flow
    return (
        f'<path class="flow" data-event="{escape(flow.event)}" data-subscription="{escape(flow.subscription)}" '
        f'marker-end="url(#tip)" d="{_line(route.points)}">'
        f"<title>{escape(f'{flow.event} → {flow.subscription}')}</title></path>"
    )


def _line(points: tuple[Point, ...]) -> str:
    """A line through these points with round corners."""
    parts = [f"M{points[0].x} {points[0].y}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before), _towards(corner, after)
        parts.append(f"L{start.x} {start.y}Q{corner.x} {corner.y} {end.x} {end.y}")
    return "".join([*parts, f"L{points[-1].x} {points[-1].y}"])


def _towards(corner: Point, other: Point) -> Point:
    """The point where the round corner begins: a few units from it, and at most half way."""
    x, y = other.x - corner.x, other.y - corner.y
    near = min(_ROUND, max(abs(x), abs(y)) // 2)
    return Point(corner.x + max(-near, min(near, x)), corner.y + max(-near, min(near, y)))


def _box(box: Box) -> str:
    domain = box.domain
    jobs = f"{len(domain.jobs)} {'job' if len(domain.jobs) == 1 else 'jobs'}"
    rows = "".join(_row(box, row) for row in box.rows)
    return (
        f'<g class="box" data-find="{_words(domain.name, domain.title, domain.about)}">'
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{box.height}" rx="8"/>'
        f'<a href="#{_anchor("domain", domain.name)}"><text class="name" x="{box.x + 14}" y="{box.y + 23}">'
        f"{escape(_cut(domain.name, 28))}</text></a>"
        f'<text class="note" x="{box.x + 14}" y="{box.y + 40}">{escape(_cut(domain.about or jobs, 36))}</text>'
        f"<title>{escape(domain.about or domain.name)}</title>"
        f'<line x1="{box.x}" x2="{box.x + WIDTH}" y1="{box.y + HEAD - 5}" y2="{box.y + HEAD - 5}"/>{rows}</g>'
    )


def _row(box: Box, row: Row) -> str:
    short = _cut(row.name.removeprefix(f"{box.domain.name}."), 32)
    right = row.kind == "event"
    x = box.x + WIDTH - 18 if right else box.x + 18
    port = box.x + WIDTH if right else box.x
    anchor = ' text-anchor="end"' if right else ""
    return (
        f'<a class="row {row.kind}" href="#{_anchor(row.kind, row.name)}" data-{row.kind}="{escape(row.name)}" '
        f'data-find="{_words(row.name)}"><circle cx="{port}" cy="{row.y + ROW // 2}" r="4"/>'
        f'<text x="{x}" y="{row.y + 15}"{anchor}>{escape(short)}'
        f"<title>{escape(row.name)}</title></text></a>"
    )


# --- the lists


def _card(domain: DomainEntry) -> str:
    lists = [
        _list("Publishes", (_event(each) for each in domain.events)),
        _list("Subscribes to", (_subscription(each) for each in domain.subscriptions)),
        _list("Jobs", _job_item(domain)),
        _list("Queues", (_queue(each) for each in domain.queues)),
        _list(
            "Depends on",
            (_item("uses", f"{domain.name} {each.uses}", escape(each.reason), "", (each.uses,), each.uses)
             for each in domain.dependencies),
        ),
    ]  # fmt: skip
    return (
        f'<article class="card" id="{_anchor("domain", domain.name)}" data-name="{_words(domain.name, domain.title)}">'
        f"<h2>{escape(domain.name)}</h2><p>{escape(domain.about)}</p>"
        f'<p class="path"><code>{escape(domain.package)}</code></p>{"".join(lists)}</article>'
    )


def _queue(each: QueueEntry) -> str:
    slots = f"{each.concurrency} {'slot' if each.concurrency == 1 else 'slots'} per worker"
    return _item("queue", each.name, slots, "", (each.name,))


def _job_item(domain: DomainEntry) -> Iterator[str]:
    for each in domain.jobs:
        note = " · ".join(filter(None, (escape(each.about), f"in <code>{escape(each.queue)}</code>")))
        yield _item("job", each.name, note, _fields(each.fields), (each.title, each.about, each.queue))


def _event(each: EventEntry) -> str:
    heard = ", ".join(_link("subscription", name) for name in each.subscribers)
    silent = "kept for the record" if each.audit_only else "no subscriber"
    order = f"in order of <code>{escape(each.ordered_by)}</code>" if each.ordered_by else ""
    note = " · ".join(filter(None, (escape(each.about), f"subscribers: {heard}" if heard else silent, order)))
    return _item("event", each.name, note, _fields(each.fields), (each.title, each.about, *each.subscribers))


def _subscription(each: SubscriptionEntry) -> str:
    note = " · ".join(
        filter(
            None,
            (
                f"on {escape(each.event) if each.publisher == OWN else _link('event', each.event)}",
                f"where <code>{escape(each.where)}</code>" if each.where else "",
                f"inline: {escape(each.inline)}" if each.inline else "",
                f"<code>{escape(each.handler)}</code>",
            ),
        )
    )
    return _item("subscription", each.name, note, "", (each.event, each.handler))


def _list(title: str, items: Iterable[str]) -> str:
    found = "".join(items)
    return f"<section><h3>{title}</h3><ul>{found}</ul></section>" if found else ""


def _item(kind: str, name: str, note: str, more: str, words: Iterable[str], shown: str | None = None) -> str:
    return (
        f'<li class="{kind}" id="{_anchor(kind, name)}" data-find="{_words(name, *words)}">'
        f"<code class='what'>{escape(shown or name)}</code><span>{note}</span>{more}</li>"
    )


def _fields(fields: Iterable[FieldEntry]) -> str:
    told = ", ".join(f"{escape(each.name)}: {escape(each.type)}" for each in fields)
    return f"<code class='fields'>{told}</code>" if told else ""


def _link(kind: str, name: str) -> str:
    return f'<a href="#{_anchor(kind, name)}">{escape(name)}</a>'


def _anchor(kind: str, name: str) -> str:
    return escape(f"{kind}-{name.replace(' ', '-')}")


def _words(*words: str) -> str:
    return escape(" ".join(words).casefold())


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
