"""Canvases: one Markdown page per domain with its messages and subscriptions; suited to be committed and compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from remit.boundaries.drawing import mermaid
from remit.boundaries.mapping import DomainEntry, EventEntry, FieldEntry, Map, SubscriptionEntry

MARK = "<!-- Written by `remit graph --canvas`; edit the declarations instead. -->"
INDEX = "README.md"


@dataclass(frozen=True)
class Difference:
    """The differences between a folder and the canvases of a map, by the names of files."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    surplus: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.surplus)

    @property
    def texts(self) -> list[str]:
        """One line for each file."""
        kinds = (("is missing", self.missing), ("is out of date", self.changed), ("belongs to no domain", self.surplus))
        return [f"{name} {what}" for what, names in kinds for name in names]


def canvases(drawn: Map) -> dict[str, str]:
    """The pages by the names of their files: one for each domain, and an index with the map."""
    return {INDEX: _index(drawn), **{f"{domain.name}.md": draw(domain) for domain in drawn.domains}}


def write(drawn: Map, folder: Path) -> list[str]:
    """Write the pages, remove those of domains that no longer exist, and return the names of changed files.

    Only files that begin as these pages do are ever removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    difference = compare(drawn, folder)
    pages = canvases(drawn)
    for name in (*difference.missing, *difference.changed):
        (folder / name).write_text(pages[name], "utf-8", newline="\n")
    for name in difference.surplus:
        (folder / name).unlink()
    return sorted((*difference.missing, *difference.changed, *difference.surplus))


def compare(drawn: Map, folder: Path) -> Difference:
    """The differences between the committed pages and the declarations."""
    pages = canvases(drawn)
    present = {file.name: file.read_text("utf-8") for file in folder.glob("*.md")} if folder.is_dir() else {}
    return Difference(
        missing=tuple(sorted(name for name in pages if name not in present)),
        changed=tuple(sorted(name for name, text in pages.items() if present.get(name, text) != text)),
        surplus=tuple(sorted(name for name, text in present.items() if name not in pages and text.startswith(MARK))),
    )


def draw(domain: DomainEntry) -> str:
    """The page of one domain."""
    parts = [
        MARK,
        f"# {_text(domain.name)}",
        _text(domain.about),
        _table(
            ("class", "package", "jobs", "events", "subscriptions"),
            [
                (
                    _code(domain.title),
                    _code(domain.package),
                    str(len(domain.jobs)),
                    str(len(domain.events)),
                    str(len(domain.subscriptions)),
                )
            ],
        ),
        _section(
            "Jobs",
            ("job", "queue", "payload", "purpose"),
            [
                (_named(each.name, each.version), _code(each.queue), _fields(each.fields), _text(each.about))
                for each in domain.jobs
            ],
        ),
        _section(
            "Publishes",
            ("event", "payload", "subscribers", "meaning"),
            [
                (_named(each.name, each.version), _fields(each.fields), _heard(each), _text(each.about))
                for each in domain.events
            ],
        ),
        _section(
            "Subscribes to",
            ("event", "of", "subscription", "handler", "remarks"),
            [
                (_code(each.event), _code(each.publisher), _code(each.name), _code(each.handler), _remarks(each))
                for each in domain.subscriptions
            ],
        ),
        _section(
            "Queues",
            ("queue", "slots per worker"),
            [(_code(each.name), str(each.concurrency)) for each in domain.queues],
        ),
        _section(
            "Depends on",
            ("what", "why"),
            [(_code(each.uses), _text(each.reason)) for each in domain.dependencies],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _index(drawn: Map) -> str:
    rows = [
        (
            f"[{_text(each.name)}]({each.name}.md)",
            _text(each.about),
            ", ".join(sorted({_code(flow.publisher) for flow in drawn.flows if flow.subscriber == each.name})) or "-",
        )
        for each in drawn.domains
    ]
    table = _table(("domain", "purpose", "subscribes to"), rows)
    return "\n\n".join([MARK, "# Domains", table, f"```mermaid\n{mermaid.draw(drawn)}```"]) + "\n"


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{_table(head, rows)}" if rows else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell or '-' for cell in line)} |" for line in lines)


def _named(name: str, version: int) -> str:
    return _code(name) if version == 1 else f"{_code(name)} v{version}"


def _fields(fields: Iterable[FieldEntry]) -> str:
    return "<br>".join(_code(f"{each.name}: {each.type}") for each in fields)


def _heard(event: EventEntry) -> str:
    if event.subscribers:
        return "<br>".join(_code(name) for name in event.subscribers)
    return "kept for the record" if event.audit_only else "none"


def _remarks(each: SubscriptionEntry) -> str:
    remarks = [
        f"where {_code(each.where)}" if each.where else "",
        f"in order of {_code(each.ordered_by)}" if each.ordered_by else "",
        f"inline: {_text(each.inline)}" if each.inline else "",
    ]
    return "<br>".join(remark for remark in remarks if remark)


def _code(text: str) -> str:
    """A code span in a table: with enough backticks, and no bar that would end the cell."""
    line = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


_LISTED = re.compile(r"^(\d*)([-+.)])")
_ESCAPED = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"} | {"&": "&amp;"})


def _text(text: str) -> str:
    """A foreign text: nothing in it is Markdown or HTML."""
    return _LISTED.sub(r"\1\\\2", " ".join(text.split()).translate(_ESCAPED))
