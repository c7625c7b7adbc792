"""The map in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from remit.boundaries.mapping import DomainEntry, Map

_STYLES = {
    "event": 'shape=cds, style=filled, fillcolor="#fde6d8", color="#c2541b"',
    "subscription": 'shape=box, style="rounded,filled", fillcolor="#e3f1e2", color="#3d7a3a"',
    "job": 'shape=box, style=filled, fillcolor="#dce8f5", color="#2f5d8c"',
    "queue": 'shape=cylinder, style=filled, fillcolor="#ececec", color="#777777"',
}


def draw(drawn: Map) -> str:
    """A cluster per domain with its queues, jobs, events and subscriptions; edges where events and deliveries go."""
    lines = [
        "digraph remit {",
        "  rankdir=LR;",
        '  node [fontname="Helvetica", fontsize=11];',
        '  graph [fontname="Helvetica", fontsize=12];',
    ]
    for domain in drawn.domains:
        lines += _domain(domain)
    lines += [f"  {_id('event', flow.event)} -> {_id('subscription', flow.subscription)};" for flow in drawn.flows]
    for domain in drawn.domains:
        for kind, entries in (("job", domain.jobs), ("subscription", domain.subscriptions)):
            lines += [f"  {_id(kind, each.name)} -> {_id('queue', each.queue)} [style=dashed];" for each in entries]
    return "\n".join([*lines, "}"]) + "\n"


def _domain(domain: DomainEntry) -> Iterator[str]:
    yield f"  subgraph {_quoted(f'cluster {domain.name}')} {{"
    yield f"    label={_quoted(domain.name)};"
    if domain.about:
        yield f"    tooltip={_quoted(domain.about)};"
    kinds = (
        ("event", domain.events),
        ("subscription", domain.subscriptions),
        ("job", domain.jobs),
        ("queue", domain.queues),
    )
    for kind, entries in kinds:
        for each in entries:
            label = each.name.removeprefix(f"{domain.name}.")
            yield f"    {_id(kind, each.name)} [label={_quoted(label)}, {_STYLES[kind]}];"
    yield "  }"


def _id(kind: str, name: str) -> str:
    return _quoted(f"{kind} {name}")


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'
