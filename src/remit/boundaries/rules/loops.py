"""`event-loop`: an event whose handlers publish it again."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from remit.boundaries.model import Model
from remit.boundaries.rules.cycles import circle_through
from remit.boundaries.rules.ownership import named_jobs
from remit.boundaries.scopes import FUNCTIONS, Defined, Function, Scope
from remit.boundaries.sites import Sending
from remit.boundaries.sources import Source
from remit.boundaries.violations import Violation
from remit.catalog import EventSpec, Handler, JobSpec, MessageSpec

_DEPTH = 6


@dataclass(frozen=True, slots=True)
class _Way:
    """How an event leads to another: the names on the way, and where the last one is published."""

    names: tuple[str, ...]
    site: Sending


def event_loop(model: Model) -> Iterator[Violation]:
    """Events lead to events, through subscriptions and the jobs that they enqueue; they should not lead back.

    Jobs that enqueue each other without an event in between are not reported: a job may well enqueue itself.
    """
    senders = _Senders(model)
    edges = {event.name: senders.ways(event) for event in model.events}
    seen: set[frozenset[str]] = set()
    for name in sorted(edges):
        circle = circle_through(name, edges)
        if circle is None or frozenset(circle) in seen:
            continue
        seen.add(frozenset(circle))
        ways = [edges[start][end] for start, end in zip(circle, [*circle[1:], name], strict=True)]
        last = ways[-1].site
        subject = " -> ".join([*circle, name])
        whole = " → ".join([name, *(each for way in ways for each in way.names)])
        yield Violation(
            "event-loop",
            last.source.file,
            last.line,
            name.partition(".")[0],
            subject,
            f"{whole} is a loop: each round of events starts the next",
            "Publish another event there, or none. If a condition ends the loop, state it: "
            f'Exempt("event-loop", "{subject}", reason=…).',
        )


class _Senders:
    """The messages that the handlers of a message send, directly and through functions and methods."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._by_module: dict[str, list[Sending]] = {}
        for site in model.sites:
            if isinstance(site, Sending):
                self._by_module.setdefault(site.source.module, []).append(site)
        self._sent: dict[str, list[tuple[MessageSpec, Sending]]] = {}

    def ways(self, event: EventSpec) -> dict[str, _Way]:
        """The events that an event leads to, by the shortest path through jobs."""
        found: dict[str, _Way] = {}
        seen: set[MessageSpec] = set()
        waiting: deque[tuple[MessageSpec, tuple[str, ...]]] = deque([(event, ())])
        while waiting:
            message, names = waiting.popleft()
            for name, handler in self._handlers(message):
                through = (*names, name) if isinstance(message, EventSpec) else names
                for sent, site in self._of(handler):
                    if isinstance(sent, EventSpec):
                        found.setdefault(sent.name, _Way((*through, sent.name), site))
                    elif sent not in seen:
                        seen.add(sent)
                        waiting.append((sent, (*through, sent.name)))
        return found

    def _handlers(self, message: MessageSpec) -> Iterator[tuple[str, Handler]]:
        if isinstance(message, JobSpec):
            if handler := message.domain.__remit__.handlers.get(message):
                yield message.name, handler
            return
        for subscription in self._model.subscriptions:
            if subscription.event is message:
                yield subscription.name, subscription.handler

    def _of(self, handler: Handler) -> list[tuple[MessageSpec, Sending]]:
        if handler.place not in self._sent:
            found = self._model.function_of(handler)
            self._sent[handler.place] = [] if found is None else list(self._sent_by(found[0], found[1], set()))
        return self._sent[handler.place]

    def _sent_by(
        self, source: Source, function: Function, seen: set[tuple[str, int]], depth: int = 0
    ) -> Iterator[tuple[MessageSpec, Sending]]:
        seen.add((source.module, function.lineno))
        lines = range(function.lineno, (function.end_lineno or function.lineno) + 1)
        for site in self._by_module.get(source.module, ()):
            if site.line in lines:
                for spec in (*site.specs, *named_jobs(self._model, site)):
                    yield spec, site
        if depth == _DEPTH:
            return
        for call, scope in self._model.names.syntax(source.module).calls:
            if call.lineno in lines:
                for where, called in self._called(call, source.module, scope):
                    if (where, called.lineno) not in seen:
                        yield from self._sent_by(self._model.sources.modules[where], called, seen, depth + 1)

    def _called(self, call: ast.Call, module: str, scope: Scope) -> Iterator[tuple[str, Function]]:
        names = self._model.names
        where, bindings = names.definition(names.dotted(call.func, module, scope) or "")
        for binding in bindings:
            if isinstance(binding, Defined) and isinstance(binding.node, FUNCTIONS):
                yield where, binding.node
        if isinstance(call.func, ast.Attribute) and (holder := names.class_of(call.func.value, module, scope)):
            for node in holder[1].body:
                if isinstance(node, FUNCTIONS) and node.name == call.func.attr:
                    yield holder[0], node
