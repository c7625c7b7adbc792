"""What may be set about a worker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from remit.catalog import MAX_HOPS, Hook, LogRetention, Outbox
from remit.errors import InvalidArgument, nearest


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What may be set about a worker.

    `lease`: seconds after which a worker that shows no life may be declared dead (default 30). It beats five times as
    often, and stops itself a fifth earlier. `grace`: seconds that runs may take to end at a shutdown (default 30);
    then they are interrupted, at no cost in attempts. `prune_every`: seconds between two rounds of the
    pruners (60). `log`: how long events are kept. `max_hops`: how many events may follow from one cause (100).
    `max_tasks_per_child`: after how many jobs the child process of a process-mode handler is replaced (never, by
    default), because its memory grows, say. `queues`: the whole names of the queues that it serves (all, by default);
    `exclude`: of queues that it does not serve. `hooks`: what is done around each run, see `Remit.around_run`.
    """

    log: LogRetention = field(default_factory=Outbox().resolve)
    lease: float = 30.0
    grace: float = 30.0
    prune_every: float = 60.0
    max_hops: int | None = MAX_HOPS
    max_tasks_per_child: int | None = None
    hooks: tuple[Hook, ...] = ()
    queues: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()

    def served(self, known: Collection[str]) -> frozenset[str]:
        """Those of the known queues that it serves. Raises `InvalidArgument`, also where none is left."""
        for option, names in (("queues", self.queues), ("exclude", self.exclude)):
            for name in sorted(names - frozenset(known)):
                hint = nearest(name, known) or f" The queues are {', '.join(sorted(known))}."
                raise InvalidArgument(f"{option} names {name!r}, and no queue of that name is declared.{hint}")
        served = (self.queues or frozenset(known)) - self.exclude
        if known and not served:
            raise InvalidArgument("queues and exclude leave this worker without any queue: name at least one to serve")
        return served
