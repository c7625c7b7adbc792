"""The map as a Mermaid flowchart, for Markdown pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from remit.boundaries.mapping import DomainEntry, Map


def draw(drawn: Map) -> str:
    """A box per domain with its queues, jobs, events and subscriptions; arrows where events and deliveries go."""
    lines = ["flowchart LR"]
    for domain in drawn.domains:
        lines += _domain(domain)
    lines += [f"  {_id('event', flow.event)} --> {_id('subscription', flow.subscription)}" for flow in drawn.flows]
    for domain in drawn.domains:
        lines += [f"  {_id('job', job.name)} -.-> {_id('queue', job.queue)}" for job in domain.jobs]
        lines += [
            f"  {_id('subscription', each.name)} -.-> {_id('queue', each.queue)}" for each in domain.subscriptions
        ]
    lines += [
        "  classDef event fill:#fde6d8,stroke:#c2541b,color:#3b1a08",
        "  classDef job fill:#dce8f5,stroke:#2f5d8c,color:#0d2238",
        "  classDef subscription fill:#e3f1e2,stroke:#3d7a3a,color:#10270f",
        "  classDef queue fill:#ececec,stroke:#777777,color:#222222",
    ]
    return "\n".join(lines) + "\n"


def _domain(domain: DomainEntry) -> Iterator[str]:
    yield f'  subgraph {_id("domain", domain.name)}["{_label(domain.name)}"]'
    for event in domain.events:
        yield f'    {_id("event", event.name)}>"{_label(_short(event.name, domain))}"]:::event'
    for each in domain.subscriptions:
        yield f'    {_id("subscription", each.name)}(["{_label(_short(each.name, domain))}"]):::subscription'
    for job in domain.jobs:
        yield f'    {_id("job", job.name)}["{_label(_short(job.name, domain))}"]:::job'
    for queue in domain.queues:
        yield f'    {_id("queue", queue.name)}[("{_label(_short(queue.name, domain))}")]:::queue'
    yield "  end"


def _short(name: str, domain: DomainEntry) -> str:
    return name.removeprefix(f"{domain.name}.")


def _id(kind: str, name: str) -> str:
    """A Mermaid identifier. Names have no double dashes, so two names never become one."""
    return f"{kind}_{name.replace('.', '__').replace('-', '_')}"


_ENTITIES: Final = str.maketrans({"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;"})


def _label(text: str) -> str:
    """A text between quotes, in Mermaid's own entities."""
    return " ".join(text.split()).translate(_ENTITIES)
