"""Claims jobs for the queues that have room, and sleeps on the bell when there is nothing to claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from remit.db.store import JOBS, Capability, Store
from remit.db.transaction import Database, Transaction
from remit.jobs import operations
from remit.jobs.model import Allotment, Claim
from remit.jobs.shares import by_priority, even
from remit.runtime.executor import Executor
from remit.runtime.intake import Intake
from remit.runtime.ledger import Ledger
from remit.runtime.watch import Look, Lookout, Watch
from remit.telemetry import Telemetry

MOST_HELD = 5_000
"""Claimed jobs and unwritten outcomes of one worker, beyond which it claims no more."""
SATURATED = 5.0
"""Seconds between two looks of a worker without room; a slot that becomes free wakes it."""


class Producer(Lookout):
    """One statement claims for all queues. While a queue's backlog is known to be longer than the room, or writers
    exclude each other, the heads of its lines are read first, so that priorities hold between lines too.
    """

    name = "producer"

    def __init__(
        self,
        store: Store,
        database: Database,
        intakes: Mapping[str, Intake],
        ledger: Callable[[], Ledger],
        executor: Executor,
        watch: Watch,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, watch, telemetry, hears=JOBS)
        self._intakes = intakes
        self._ledger = ledger
        self._executor = executor
        self._looks_first = Capability.SEVERAL_WRITERS not in store.capabilities
        self._turns = 0
        self.claims = 0

    async def turn(self) -> float:
        return await super().turn() if self._has_room() else SATURATED

    def _has_room(self) -> bool:
        return any(intake.room() for intake in self._intakes.values())

    async def look(self) -> Look:
        """Claim for every queue that has room."""
        rooms = {name: room for name, intake in self._intakes.items() if intake.lines and (room := intake.room())}
        for name, intake in self._intakes.items():
            if name not in rooms:
                intake.more = True  # not looked at
        ledger = self._ledger()
        if not rooms or ledger.fenced or len(ledger) >= MOST_HELD:
            return Look.NOTHING
        self._turns += 1
        suspects = ledger.suspect is None and self._executor.suspect is None
        with ledger.claiming() as token:
            claims, expired, allotments = await self.ask(
                lambda tx: self._claim(tx, rooms, ledger.worker, token, suspects=suspects)
            )
            if ledger.fenced:
                return Look.NOTHING
            ledger.take(claims)
        for claim in expired:
            self._executor.expired(claim)
        self.claims += 1
        has_more = self._distribute(claims, rooms, allotments, ledger) or bool(expired)
        return Look.MORE if has_more else Look.ALL if claims else Look.NOTHING

    async def _claim(
        self, tx: Transaction, rooms: dict[str, int], worker: str, token: int, *, suspects: bool
    ) -> tuple[list[Claim], list[Claim], list[Allotment]]:
        allotments = await self._allot(tx, rooms, suspects=suspects)
        if not allotments:
            return [], [], []
        claimed = await operations.claim(tx, allotments, worker=worker, token=token, suspects=suspects)
        return *claimed, allotments

    async def _allot(self, tx: Transaction, rooms: dict[str, int], *, suspects: bool) -> list[Allotment]:
        allotments: list[Allotment] = []
        look: list[str] = []
        for name, room in rooms.items():
            lines = self._intakes[name].lines
            crowded = len(lines) > 1 and (self._intakes[name].more or room < len(lines))
            if self._looks_first or crowded:
                look.append(name)
            else:
                allotments += even(name, lines, room)
        if look:
            wanted = [(line, name) for name in look for line in self._intakes[name].lines]
            heads = await operations.heads(tx, wanted, suspects=suspects)
            for name in look:
                own = {line: heads[line] for line in self._intakes[name].lines if line in heads}
                allotments += by_priority(name, own, rooms[name], self._turns)
        return allotments

    def _distribute(
        self, claims: list[Claim], rooms: dict[str, int], allotments: list[Allotment], ledger: Ledger
    ) -> bool:
        """Give the queues their jobs; answers whether some line may hold more."""
        taken = Counter(claim.line for claim in claims)
        claims_of: dict[str, list[Claim]] = {name: [] for name in rooms}
        queue_of = {line: name for name in rooms for line in self._intakes[name].lines}
        for claim in self._keep_one_suspect(claims, ledger):
            claims_of[queue_of[claim.line]].append(claim)
        partly = {each.queue for each in allotments if taken[each.line] and each.may_leave(taken[each.line])}
        for name, batch in claims_of.items():
            intake = self._intakes[name]
            intake.more = name in partly
            if batch:
                intake.put(batch)
        return bool(partly)

    def _keep_one_suspect(self, claims: list[Claim], ledger: Ledger) -> list[Claim]:
        """The others go back, for other workers, or for later: here they would only wait, in slots that others need."""
        suspects = [claim for claim in claims if claim.suspect]
        if not suspects:
            return claims
        ledger.suspect = suspects[0].id
        self._executor.give_back(suspects[1:])
        return [claim for claim in claims if not claim.suspect or claim is suspects[0]]
