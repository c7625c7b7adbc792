"""The map as one page that needs nothing else: no network, no server. Every name in it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from itertools import count

from remit.boundaries.drawing.layout import HEAD, LANE, ROW, WIDTH, Box, Layout, Row, lay_out
from remit.boundaries.mapping import DomainEntry, EventEntry, FieldEntry, Flow, Map, QueueEntry, SubscriptionEntry
from remit.boundaries.sources import OWN


def draw(drawn: Map, title: str = "Domains") -> str:
    """The page: a picture of the domains and their events, and below it everything in lists that can be searched."""
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
    pieces = page.split("@@")  # text, name, text, name, …: what is filled in is never looked at again
    return "".join(piece if place % 2 == 0 else parts[piece] for place, piece in enumerate(pieces))


# --- the picture


def _picture(drawn: Map, layout: Layout) -> str:
    places = {(row.kind, row.name): (box, row) for box in layout.boxes.values() for row in box.rows}
    lanes = count(layout.floor, LANE)
    arrows = [_arrow(flow, places, lanes) for flow in drawn.flows]
    boxes = [_box(box) for box in layout.boxes.values()]
    label = f"{len(drawn.domains)} domains and {len(drawn.flows)} subscriptions between them"
    return (
        f'<svg viewBox="0 0 {layout.width} {layout.height}" width="{layout.width}" height="{layout.height}" role="img" '
        f'aria-label="{label}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>\n'
        + "\n".join([*arrows, *boxes])
        + "\n</svg>"
    )


def _arrow(flow: Flow, places: dict[tuple[str, str], tuple[Box, Row]], lanes: Iterator[int]) -> str:
    start, end = places.get(("event", flow.event)), places.get(("subscription", flow.subscription))
    if start is None or end is None:
        return ""
    (source, event), (target, subscription) = start, end
    x1, y1 = source.x + WIDTH, event.y + ROW // 2
    x2, y2 = target.x, subscription.y + ROW // 2
    bend = max(60, abs(x2 - x1) // 2)
    line = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" if x2 > x1 else _back(x1, y1, x2, y2, next(lanes))
    told = f"{flow.event} → {flow.subscription}"
    return (
        f'<path class="flow" data-event="{escape(flow.event)}" data-subscription="{escape(flow.subscription)}" '
        f'marker-end="url(#tip)" d="{line}">'
        f"<title>{escape(told)}</title></path>"
    )


def _back(x1: int, y1: int, x2: int, y2: int, lane: int) -> str:
    """An arrow to the left: out at the right, along below all boxes, and in from the left."""
    right, left = x1 + 14 + lane % 21, x2 - 18 - lane % 21
    return (
        f"M{x1} {y1}H{right - 6}Q{right} {y1} {right} {y1 + 6}V{lane - 6}Q{right} {lane} {right - 6} {lane}"
        f"H{left + 6}Q{left} {lane} {left} {lane - 6}V{y2 + 6}Q{left} {y2} {left + 6} {y2}H{x2}"
    )


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
        _list("Listens to", (_subscription(each) for each in domain.subscriptions)),
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
    silent = "kept for the record" if each.audit_only else "heard by nobody"
    order = f"in order of <code>{escape(each.ordered_by)}</code>" if each.ordered_by else ""
    note = " · ".join(filter(None, (escape(each.about), f"heard by {heard}" if heard else silent, order)))
    return _item("event", each.name, note, _fields(each.fields), (each.title, each.about, *each.subscribers))


def _subscription(each: SubscriptionEntry) -> str:
    note = " · ".join(
        filter(
            None,
            (
                f"hears {escape(each.event) if each.publisher == OWN else _link('event', each.event)}",
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
