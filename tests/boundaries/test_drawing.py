"""Every drawing is made of one map, is valid in its format, and takes any name."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from remit.boundaries import Map, map_of
from remit.boundaries.drawing import canvas, dot, html, mermaid
from remit.boundaries.drawing import json as as_json
from remit.boundaries.drawing.layout import Layout, lay_out
from remit.boundaries.mapping import DomainEntry, EventEntry, SubscriptionEntry
from tests.boundaries.conftest import Project

EVIL = """</script><img src=x onerror=alert(1)> "quoted" 'single' & a|b `c` #d [e](f) *g* \\ @@cards@@"""


@pytest.fixture
def market() -> Map:
    from market.app import app

    return map_of(app)


@pytest.fixture
def evil(market: Map) -> Map:
    """A map with texts that would break out of every format."""
    orders, stock = market.domains
    job = replace(orders.jobs[0], about=EVIL, fields=(replace(orders.jobs[0].fields[0], type=EVIL),))
    heard = replace(orders.subscriptions[0], where=EVIL, inline=EVIL)
    event = replace(orders.events[0], about=EVIL, ordered_by=EVIL)
    return Map((replace(orders, about=EVIL, jobs=(job,), events=(event,), subscriptions=(heard,)), stock))


def test_the_map_holds_what_a_domain_owns_publishes_and_hears(market: Map) -> None:
    orders, stock = market.domains
    assert (orders.name, orders.package, orders.title) == ("orders", "market.orders", "Orders")
    assert [each.name for each in orders.jobs] == ["orders.ship-order"]  # and not the job behind publish_later
    assert [(each.name, each.concurrency) for each in orders.queues] == [("orders.bulk", 2), ("orders.default", 10)]
    assert [each.name for each in stock.events] == ["stock.reserved", "stock.stock-reserved"]
    [placed] = [each for each in orders.events if each.title == "OrderPlaced"]
    assert (placed.subscribers, placed.ordered_by) == (("stock.deciding", "stock.plain"), "order")
    assert [(each.uses, bool(each.reason)) for each in orders.dependencies] == [
        ("market.stock.internals", True),
        ("stock", False),
    ]
    assert {(flow.publisher, flow.subscriber) for flow in market.flows} == {("orders", "stock"), ("stock", "orders")}


def test_the_job_s_fields_are_told_as_they_are_written(market: Map) -> None:
    [job] = market.domains[0].jobs
    assert [(each.name, each.type) for each in job.fields] == [
        ("organization_id", "str"),
        ("order", "str"),
        ("lines", "tuple[Line, ...]"),
    ]
    assert job.about == "Send | what was *ordered*."
    assert market.domains[1].jobs[0].about == ""  # what dataclasses write is no docstring


def test_json_is_the_map(market: Map) -> None:
    document = json.loads(as_json.draw(market))
    assert set(document) == {"domains", "flows"}
    assert [each["name"] for each in document["domains"]] == ["orders", "stock"]
    assert set(document["domains"][0]) == {
        "name", "title", "package", "about", "queues", "jobs", "events", "subscriptions", "dependencies",
    }  # fmt: skip
    assert len(document["flows"]) == 5


@pytest.mark.parametrize("which", ["market", "evil"])
def test_mermaid_is_a_flowchart(which: str, request: pytest.FixtureRequest) -> None:
    drawn: Map = request.getfixturevalue(which)
    lines = mermaid.draw(drawn).splitlines()
    assert lines[0] == "flowchart LR"
    shape = r"""\w+(?:>"[^"<>]*"\]|\(\["[^"<>]*"\]\)|\["[^"<>]*"\]|\[\("[^"<>]*"\)\])(?::::\w+)?"""
    forms = re.compile(
        rf"    {shape}|  subgraph \w+\[\"[^\"<>]*\"\]|  end|  \w+ (?:-->|-\.->) \w+|  classDef \w+ [\w#:,]+"
    )
    assert [line for line in lines[1:] if not forms.fullmatch(line)] == []
    defined = set(re.findall(r"^    (\w+?)(?=[>(\[])", "\n".join(lines), re.MULTILINE))
    for start, end in re.findall(r"^  (\w+) (?:-->|-\.->) (\w+)$", "\n".join(lines), re.MULTILINE):
        assert start in defined or which == "evil"
        assert end in defined or which == "evil"
    assert lines.count("  end") == 2


@pytest.mark.parametrize("which", ["market", "evil"])
def test_dot_is_a_digraph(which: str, request: pytest.FixtureRequest) -> None:
    text = dot.draw(request.getfixturevalue(which))
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", text)
    assert bare.count("{") == bare.count("}") == 3
    nodes, edges = r"Q \[label=Q, .*\];", r"Q -> Q(?: \[style=dashed\])?;"
    forms = rf"\s*(?:digraph remit \{{|\}}|\w+=Q?\w*;|\w+ \[.*\];|{nodes}|{edges}|subgraph Q \{{)"
    assert [line for line in bare.splitlines() if not re.fullmatch(forms, line)] == []
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text.encode(), check=True, capture_output=True)


class Reader(HTMLParser):
    """Elements, ids, links and texts of a page; checks that what is opened is closed."""

    VOID = frozenset({"meta", "input", "rect", "line", "circle", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for attribute, value in self.attributes if attribute == name]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_no_network(market: Map) -> None:
    page = html.draw(market)
    reader = read(page)
    assert not {"link", "img", "iframe", "object"} & set(reader.tags)
    assert "src" not in {name for name, _ in reader.attributes}
    assert not re.search(r"https?://|url\((?!#)|@import|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_the_page_holds_everything_and_its_links_lead_somewhere(market: Map) -> None:
    reader = read(html.draw(market, "shop"))
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    assert {href.removeprefix("#") for href in reader.values("href")} <= set(ids)
    for domain in market.domains:
        names = [each.name for each in (*domain.jobs, *domain.events, *domain.subscriptions, *domain.queues)]
        assert set(names) <= set(reader.texts)
    assert reader.tags.count("path") == 1 + len(market.flows)  # and the tip of the arrows
    assert reader.texts.count("shop") == 2


def test_names_in_the_page_are_text_and_nothing_else(market: Map, evil: Map) -> None:
    reader = read(html.draw(evil, EVIL))
    assert "img" not in reader.tags
    assert reader.tags.count("script") == read(html.draw(market)).tags.count("script") == 1
    assert EVIL in reader.texts
    assert reader.texts.count(EVIL) >= 3
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def shop_of(numbers: random.Random) -> Map:
    """Some domains, of which each publishes some events and hears some of any domain, also of its own."""
    names = [f"d{number}" for number in range(numbers.randint(1, 9))]
    events = {name: [f"{name}.e{number}" for number in range(numbers.randint(0, 5))] for name in names}
    domains = []
    for name in names:
        heard = numbers.sample(
            everything := [each for some in events.values() for each in some], min(4, len(everything))
        )
        domains.append(
            DomainEntry(
                name, name, name, "", (), (),
                tuple(EventEntry(each, each, each, "", 1, False, None, (), ()) for each in events[name]),
                tuple(
                    SubscriptionEntry(f"{name}.on-{each}", each, each.partition(".")[0], "m:f", "q", "", None, None)
                    for each in heard
                ),
                (),
            )
        )  # fmt: skip
    return Map(tuple(domains))


@pytest.mark.parametrize("seed", range(40))
def test_no_line_runs_behind_a_box_or_along_the_line_of_another_event(seed: int) -> None:
    drawn = shop_of(random.Random(seed))
    layout = lay_out(drawn)
    assert [route.flow for route in layout.routes] == list(drawn.flows)
    parts: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for route in layout.routes:
        event = (route.flow.publisher, "event", route.flow.event)
        subscription = (route.flow.subscriber, "subscription", route.flow.subscription)
        assert (route.points[0], route.points[-1]) == (port(layout, *event), port(layout, *subscription))
        for start, end in itertools.pairwise(route.points):
            assert start.x == end.x or start.y == end.y
            (left, right), (top, bottom) = sorted((start.x, end.x)), sorted((start.y, end.y))
            assert left >= 0
            assert right <= layout.width
            assert top >= 0
            assert bottom <= layout.height
            for box in layout.boxes.values():
                is_apart = right <= box.x or left >= box.x + 264 or bottom <= box.y or top >= box.y + box.height
                assert is_apart, (route, box.domain.name)
            if left < right or top < bottom:
                place = ("y", top) if top == bottom else ("x", left)
                span = (left, right) if top == bottom else (top, bottom)
                parts.setdefault(place, []).append((*span, route.flow.event))
    for place, spans in parts.items():
        for (start, end, event), (other_start, other_end, other) in itertools.combinations(spans, 2):
            assert event == other or end <= other_start or other_end <= start, (place, event, other)


def port(layout: Layout, domain: str, kind: str, name: str) -> tuple[int, int]:
    """Where the line of an event begins, at the right of its box, or where that of a subscription ends, at the left."""
    box = layout.boxes[domain]
    [row] = [row for row in box.rows if (row.kind, row.name) == (kind, name)]
    return box.x + (264 if kind == "event" else 0), row.y + 11


@pytest.mark.parametrize("seed", range(10))
def test_boxes_do_not_overlap_and_stay_on_the_page(seed: int) -> None:
    layout = lay_out(shop_of(random.Random(seed)))
    boxes = list(layout.boxes.values())
    for place, box in enumerate(boxes):
        assert 0 <= box.x < layout.width - 264
        assert 0 <= box.y <= layout.height - box.height
        for other in boxes[place + 1 :]:
            assert box.x != other.x or box.y + box.height <= other.y or other.y + other.height <= box.y


def test_an_empty_map_is_drawn_too() -> None:
    nothing = Map(())
    assert mermaid.draw(nothing).startswith("flowchart LR\n")
    assert dot.draw(nothing).startswith("digraph remit {")
    read(html.draw(nothing))
    assert set(canvas.canvases(nothing)) == {"README.md"}


def test_a_table_of_a_canvas_has_as_many_cells_as_its_head(evil: Map) -> None:
    for page in canvas.canvases(evil).values():
        tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
        assert tables
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
        assert "<img" not in re.sub(r"`+[^`]*`+", "", page).replace("\\<", "")


def test_canvases_are_written_compared_and_removed(market: Map, tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "domains"
    assert canvas.compare(market, folder).missing == ("README.md", "orders.md", "stock.md")
    assert canvas.write(market, folder) == ["README.md", "orders.md", "stock.md"]
    assert not canvas.compare(market, folder)
    assert canvas.write(market, folder) == []
    (folder / "notes.md").write_text("our own\n")
    (folder / "orders.md").write_text(f"{canvas.MARK}\nedited\n")
    fewer = Map(market.domains[:1])
    difference = canvas.compare(fewer, folder)
    assert (difference.missing, difference.surplus) == ((), ("stock.md",))
    assert difference.changed == ("README.md", "orders.md")
    assert difference.texts == ["README.md is out of date", "orders.md is out of date", "stock.md belongs to no domain"]
    canvas.write(fewer, folder)
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "notes.md", "orders.md"]


def test_a_canvas_holds_no_line_and_no_place_of_this_machine(market: Map) -> None:
    for page in canvas.canvases(market).values():
        assert str(Path.cwd()) not in page
        assert not re.search(r"\.py:\d", page)


def test_the_map_names_a_condition_in_code(project: Project) -> None:
    project.write(
        {
            "messages.py": "from remit import Domain, Event\nclass Shop(Domain[object]): ...\nshop = Shop()\n"
            "class Paid(Event[Shop]):\n    number: int\n",
            "handlers.py": "from PKG.messages import *\ndef large(event):\n    return event.number > 3\n"
            "@shop.on(Paid, name='a', where=large)\ndef a(event, run): ...\n"
            "@shop.on(Paid, name='b', where=lambda event: True)\ndef b(event, run): ...\n",
        }
    )
    import importlib

    from remit.catalog import Catalog
    from tests.boundaries.conftest import Application

    module = importlib.import_module(f"{project.name}.messages")
    [domain] = map_of(Application(Catalog([module.shop]))).domains
    assert [each.where for each in domain.subscriptions] == [
        f"{project.name}.handlers:large",
        f"{project.name}.handlers:<lambda>",
    ]
