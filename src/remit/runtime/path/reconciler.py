"""Compares what the database says that this worker holds with what it holds; looks for work that nobody claims.

Levels, not edges: a claim whose reply was lost leaves rows that name this worker and that it does not know. They are
given back on the next round, at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from remit.db.transaction import Database, Role
from remit.execution import operations as execution
from remit.execution.model import Ended
from remit.execution.settlement import stray
from remit.jobs import operations
from remit.jobs.ids import new_token
from remit.runtime.handlers.runs import LiveRun
from remit.runtime.loop import StoreLoop
from remit.runtime.path.ledger import Claims, Ledger
from remit.runtime.path.settlement import Settlement
from remit.telemetry import Telemetry


class Reconciler(StoreLoop):
    """Every beat: our own rows, with requests to cancel; every few beats: lines that are new to us."""

    name = "reconciler"
    role = Role.LEADER
    LINES_EVERY = 5

    def __init__(
        self,
        database: Database,
        claims: Claims,
        active: Mapping[str, LiveRun],
        adopt: Callable[[list[tuple[int, str, str, int]]], None],
        settlement: Settlement,
        interval: float,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(database, telemetry)
        self._settlement = settlement
        self._claims = claims
        self._active = active
        self._adopt = adopt
        self._interval = interval
        self.rounds = 0
        """How many comparisons it has made."""

    async def turn(self) -> float:
        ledger = self._claims.ledger
        rows = await self.ask(lambda tx: execution.held(tx, worker=ledger.worker))
        strays: list[Ended] = []
        for id, token, failures, asked in rows:
            if not ledger.knows(id, token):
                strays.append(stray(id, token, failures))
            elif asked and (run := self._active.get(id)) is not None:
                run.ask_cancel()
        if strays:
            await self._give_back(strays, ledger)
        if self.rounds % self.LINES_EVERY == 0:
            self._adopt(await self.ask(operations.lines))
        self.rounds += 1
        return self._interval

    async def _give_back(self, strays: list[Ended], ledger: Ledger) -> None:
        given = await self.ask(lambda tx: execution.finish(tx, strays, worker=ledger.worker, stamp=new_token()))
        states = {one.id: one.state for one in given}
        for ended in strays:
            if ended.id in states:  # else a run of ours wrote its outcome after we had looked
                self._settlement.landed(ended, states[ended.id])
        self._settlement.moved(states.values())
        if given:
            self._telemetry.released(len(given))
