"""Claims jobs for the queues that have room, and sleeps on the wakeup when there is nothing to claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from remit.catalog.policies import LAST_PRIORITY
from remit.db import fallbacks
from remit.db.store import JOBS, Capability, Store
from remit.db.transaction import Database, Role, Transaction
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.execution.shares import by_priority, even
from remit.runtime.loop import Signal
from remit.runtime.path.executor import Executor
from remit.runtime.path.ledger import Claims, Ledger
from remit.runtime.path.prefetch import Prefetch
from remit.runtime.wakeup import Found, Poller, SharedWakeup
from remit.telemetry import Telemetry


@dataclass(slots=True)
class _Reply:
    """What one claim asked for, and what it got."""

    heads: dict[str, dict[int, int]] = field(default_factory=dict)
    """Of the queues whose heads were read: the best priority of each line."""
    allotments: list[Allotment] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    expired: list[Claim] = field(default_factory=list)


class Producer(Poller):
    """One statement claims for all queues. While a queue's backlog is known to be longer than the room, or writers
    exclude each other, the heads of its lines are read first, so that priorities hold between lines too.

    It sleeps without a look only where every queue, or the ledger, refused it: each refusal is followed by a call when
    there is room (`Prefetch.room`, `Ledger.has_room`).
    """

    name = "producer"
    role = Role.CLAIM
    woken_by = frozenset({Signal.WORK})

    def __init__(
        self,
        store: Store,
        database: Database,
        prefetches: Mapping[str, Prefetch],
        claims: Claims,
        executor: Executor,
        wakeup: SharedWakeup,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, wakeup, telemetry, hears=JOBS)
        self._prefetches = prefetches
        self._claims = claims
        self._executor = executor
        self._looks_first = Capability.SEVERAL_WRITERS not in store.capabilities
        self._turns = 0

    async def turn(self) -> float:
        return fallbacks.SATURATED if self._is_saturated() else await super().turn()

    def _is_saturated(self) -> bool:
        """Whether everything refuses: then a look would be in vain."""
        if not self._claims.ledger.has_room():
            return True
        prefetches = [prefetch for prefetch in self._prefetches.values() if prefetch.lines]
        return bool(prefetches) and not any(prefetch.room() for prefetch in prefetches)

    async def poll(self) -> Found:
        """Claim for every queue that has room."""
        ledger = self._claims.ledger
        if not ledger.has_room():
            return Found.NOTHING
        rooms = {
            name: room for name, prefetch in self._prefetches.items() if prefetch.lines and (room := prefetch.room())
        }
        found, in_vain = Found.NOTHING, Counter[int]()
        while rooms:
            reply = await self._claim(ledger, rooms, in_vain)
            if ledger.fenced:
                return Found.NOTHING
            for claim in reply.expired:
                self._executor.expired(claim)
            if self._distribute(reply, rooms) or reply.expired:
                found = Found.MORE
            elif reply.claims and found is Found.NOTHING:
                found = Found.ALL
            rooms = self._outrun(reply, rooms, in_vain)
        return found

    async def _claim(self, ledger: Ledger, rooms: dict[str, int], in_vain: Counter[int]) -> _Reply:
        self._turns += 1
        suspects = ledger.suspect is None and self._executor.suspect is None
        with ledger.claiming() as token:
            reply = await self.ask(lambda tx: self._take(tx, rooms, in_vain, ledger.worker, token, suspects=suspects))
            if not ledger.fenced:
                ledger.take(reply.claims)
        return reply

    async def _take(
        self, tx: Transaction, rooms: dict[str, int], in_vain: Counter[int], worker: str, token: int, *, suspects: bool
    ) -> _Reply:
        reply = _Reply()
        await self._allot(tx, reply, rooms, in_vain, suspects=suspects)
        if reply.allotments:
            reply.claims, reply.expired = await execution.claim(
                tx, reply.allotments, worker=worker, token=token, suspects=suspects
            )
        return reply

    async def _allot(
        self, tx: Transaction, reply: _Reply, rooms: dict[str, int], in_vain: Counter[int], *, suspects: bool
    ) -> None:
        look: list[str] = []
        for name, room in rooms.items():
            lines = self._prefetches[name].lines
            crowded = len(lines) > 1 and (self._prefetches[name].more or room < len(lines))
            if self._looks_first or crowded:
                look.append(name)
            else:
                reply.allotments += even(name, lines, room)
        if look:
            wanted = [(line, name) for name in look for line in self._prefetches[name].lines]
            heads = await execution.heads(tx, wanted, suspects=suspects)
            for name in look:
                own = {
                    line: LAST_PRIORITY if in_vain[line] else heads[line]
                    for line in self._prefetches[name].lines
                    if line in heads and in_vain[line] < 2
                }
                reply.heads[name] = own
                reply.allotments += by_priority(name, own, rooms[name], self._turns)

    def _distribute(self, reply: _Reply, rooms: dict[str, int]) -> bool:
        """Give the queues their jobs; answers whether some line may hold more."""
        taken = Counter(claim.line for claim in reply.claims)
        claims_of: dict[str, list[Claim]] = {name: [] for name in rooms}
        queue_of = {line: name for name in rooms for line in self._prefetches[name].lines}
        for claim in reply.claims:
            claims_of[queue_of[claim.line]].append(claim)
        partly = {each.queue for each in reply.allotments if taken[each.line] and each.may_leave(taken[each.line])}
        for name, batch in claims_of.items():
            prefetch = self._prefetches[name]
            prefetch.more = name in partly
            if batch:
                prefetch.put(batch)
        return bool(partly)

    def _outrun(self, reply: _Reply, rooms: dict[str, int], in_vain: Counter[int]) -> dict[str, int]:
        """The queues, with their room, that got nothing although not all that their heads showed was asked for.

        Another worker was faster, or a transaction holds the head of a line. That hides no other job: the next claim
        takes such a line last and without a ceiling, and the one after that leaves it out.
        """
        if reply.expired:
            return {}
        got = {claim.line for claim in reply.claims}
        outrun: dict[str, int] = {}
        for name, heads in reply.heads.items():
            asked = [each for each in reply.allotments if each.queue == name]
            if got.isdisjoint(heads) and (len(asked) < len(heads) or any(each.may_leave(0) for each in asked)):
                in_vain.update(each.line for each in asked)
                outrun[name] = rooms[name]
        return outrun
