"""Claims jobs for the queues that have room, and sleeps on the bell when there is nothing to claim."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from remit.db.store import Capability, Store
from remit.db.transaction import Database, Transaction
from remit.jobs import operations
from remit.jobs.model import Allotment, Claim
from remit.jobs.shares import by_priority, even
from remit.runtime.intake import Intake
from remit.runtime.ledger import Ledger
from remit.runtime.service import StoreLoop
from remit.runtime.watch import Watch
from remit.telemetry import Telemetry

MOST_HELD = 5_000
"""Claimed jobs and unwritten outcomes of one worker, beyond which it claims no more."""
SATURATED = 5.0
"""Seconds between two looks of a worker without room; a slot that becomes free wakes it."""


class Producer(StoreLoop):
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
        watch: Watch,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, telemetry)
        self._intakes = intakes
        self._ledger = ledger
        self._watch = watch
        self._looks_first = Capability.SEVERAL_WRITERS not in store.capabilities
        self._turns = 0
        self._busy = False
        self.claims = 0
        watch.join(self.name, self.wake)

    async def turn(self) -> float:
        """Idle: settle, scan once more, sleep. Busy: claim, and leave the bell alone until a claim comes back empty."""
        if not self._has_room():
            return SATURATED
        was_busy = self._busy
        pause = 0.0 if was_busy else await self._watch.settle(self.name)
        self._busy = await self.claim_once()
        if self._busy and not was_busy:
            await self._watch.rouse(self.name)
        return 0.0 if self._busy or was_busy else pause

    def _has_room(self) -> bool:
        return any(intake.room() for intake in self._intakes.values())

    async def claim_once(self) -> bool:
        """Claim for every queue that has room; True when there may be more."""
        rooms = {name: room for name, intake in self._intakes.items() if intake.lines and (room := intake.room())}
        for name, intake in self._intakes.items():
            if name not in rooms:
                intake.more = True  # not looked at
        ledger = self._ledger()
        if not rooms or ledger.fenced or len(ledger) >= MOST_HELD:
            return False
        self._turns += 1
        with ledger.claiming() as token:
            claims, expired, asked = await self.ask(lambda tx: self._claim(tx, rooms, ledger.worker, token))
            if ledger.fenced:
                return False
            ledger.take(claims)
        for id in expired:
            self._telemetry.expired(id)
        self._distribute(claims, rooms, asked)
        self.claims += 1
        return bool(claims)

    async def _claim(
        self, tx: Transaction, rooms: dict[str, int], worker: str, token: int
    ) -> tuple[list[Claim], list[str], dict[str, int]]:
        allotments = await self._allot(tx, rooms)
        if not allotments:
            return [], [], {}
        claims, expired = await operations.claim(tx, allotments, worker=worker, token=token)
        asked = dict.fromkeys(rooms, 0)
        for allotment in allotments:
            asked[allotment.queue] += allotment.quota
        return claims, expired, asked

    async def _allot(self, tx: Transaction, rooms: dict[str, int]) -> list[Allotment]:
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
            heads = await operations.heads(tx, wanted)
            for name in look:
                own = {line: heads[line] for line in self._intakes[name].lines if line in heads}
                allotments += by_priority(name, own, rooms[name], self._turns)
        return allotments

    def _distribute(self, claims: list[Claim], rooms: dict[str, int], asked: dict[str, int]) -> None:
        queue_of = {line: name for name in rooms for line in self._intakes[name].lines}
        by_queue: dict[str, list[Claim]] = {name: [] for name in rooms}
        for claim in claims:
            by_queue[queue_of[claim.line]].append(claim)
        for name, batch in by_queue.items():
            intake = self._intakes[name]
            # A line that gave less than it was asked for is empty; anything else may hold more.
            intake.more = bool(batch) and (len(batch) >= asked.get(name, 0) or len(intake.lines) > 1)
            if batch:
                intake.put(batch)

    async def stop(self) -> None:
        await super().stop()
        await self._watch.leave(self.name)

    async def kill(self) -> None:
        await super().kill()
        await asyncio.gather(self._watch.leave(self.name), return_exceptions=True)
