"""Which lines of jobs a worker knows, and whose slots they use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from remit.catalog import Catalog, Handler, Owner, Policy, Work
from remit.runtime.path.prefetch import Prefetch
from remit.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Entry:
    """What a worker does with the jobs of one line."""

    spec: Work
    policy: Policy
    handler: Handler
    domain: Owner[Any]
    load: Callable[[str], Any]


class Lines:
    """The lines of an application's catalog, as far as this worker serves their queues.

    `room` is called when a queue has room that was refused before, or a line was adopted.
    """

    def __init__(
        self, catalog: Catalog, served: Collection[str], room: Callable[[], None], telemetry: Telemetry
    ) -> None:
        self._room = room
        self._telemetry = telemetry
        self.entries: dict[int, Entry] = {}
        """By the number of the line."""
        self.prefetches = {
            queue.name: Prefetch(queue.name, queue.concurrency, room)
            for queue in catalog.queues.values()
            if queue.name in served
        }
        """By queue."""
        self.unknown: set[str] = set()
        """Ready jobs that this worker leaves to others, since the application does not know them."""
        self._known: dict[tuple[str, int], Entry] = {}
        self._left: set[tuple[str, int]] = set()
        """What the application knows and this worker leaves to others, since it does not serve the queue."""
        for number, line in catalog.lines.items():
            if line.queue.name not in served:
                self._left.add((line.name, line.version))
                continue
            domain = line.spec.domain.__remit__
            assert domain.instance is not None
            entry = Entry(line.spec, catalog.policy(line.spec), line.handler, domain.instance, line.spec.codec.load)
            self._known[line.name, line.version] = entry
            self._enter(number, entry, line.queue.name)

    def _enter(self, number: int, entry: Entry, queue: str) -> None:
        self.entries[number] = entry
        self.prefetches[queue].lines.append(number)

    @property
    def by_queue(self) -> list[tuple[int, str]]:
        """The number and the queue of each line that this worker claims from."""
        return [(line, name) for name, prefetch in self.prefetches.items() for line in prefetch.lines]

    @property
    def names(self) -> list[str]:
        """The names of the jobs that this worker runs, with their versions."""
        return sorted({f"{name} v{version}" for name, version in self._known})

    def in_process(self) -> str | None:
        """The name of a job whose handler runs in a process, if there is one."""
        return next((entry.spec.name for entry in self.entries.values() if entry.handler.mode == "process"), None)

    def adopt(self, ready: list[tuple[int, str, str, int]]) -> None:
        """Take in lines of known jobs that wait in queues which are declared no more, or elsewhere."""
        unknown = set()
        for number, queue, name, version in ready:
            if number in self.entries or (name, version) in self._left:
                continue
            entry = self._known.get((name, version))
            if entry is None:
                unknown.add(f"{name} v{version}")
                continue
            into = queue if queue in self.prefetches else entry.spec.queue.name
            self._enter(number, entry, into)
            self._telemetry.adopted(name, queue, into)
            self._room()
        if unknown - self.unknown:
            self._telemetry.unknown_work(", ".join(sorted(unknown - self.unknown)))
        self.unknown = unknown
