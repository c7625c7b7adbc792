"""A crash at every call to the store on an event's way: publish, dispatch, release, deliver, purge.

Whatever it was, the next worker brings every event to every subscriber, in order where that was promised, with its
effects inside the database exactly once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from remit import Remit
from remit.db.opening import open_store
from remit.errors import StoreError
from remit.runtime.worker import Worker
from tests.crash import bazaar
from tests.crash.dying import DyingStore, Fate, When
from tests.crash.test_every_call import PATIENCE, World, both_stores

WAY = {
    "publish": 1,
    "lock_subscriptions": 1,
    "declare": 1,
    "pending": 1,
    "dispatch": 2,
    "release": 3,
    "lanes": 1,
    "claim": 1,
    "finish": 2,
    "commit": 1,
    "prune_kept": 1,
    "purge_events": 2,
    "subscriptions": 1,
}
"""The calls on the way, and how many of each are tried: the later ones differ from the first in nothing."""
OFTEN = {"lanes", "prune_kept", "purge_events", "subscriptions", "pending"}
"""Calls that come by themselves, if need be after everything was delivered."""
WANTED = {"bazaar.opened": ("look", "record", "forward"), "bazaar.entered": ("admit",), "bazaar.passed": ("hear",)}


class Way(World):
    """A database, and the publishers and workers that come and go on it."""

    def app(self, fate: Fate) -> Remit:
        self.monkeypatch.setattr("remit.app.open_store", lambda *_, **__: DyingStore(self.store, fate))
        return Remit(self.url, domains=[bazaar.bazaar], prune_every=0.05)

    async def send(self, fate: Fate) -> None:
        app = self.app(fate)
        with app.bound():
            try:
                await bazaar.bazaar.publish_many([
                    *(bazaar.Opened(n=n) for n in range(2)),
                    *(bazaar.Entered(n=n, gate="north") for n in range(4)),
                    bazaar.Entered(n=0, gate="south"),
                ])  # fmt: skip
            except StoreError:
                assert fate.dead
            finally:
                await app._connections.close()
        self.sent = {str(id): name for id, name in await self.desk.execute("SELECT id, name FROM {event}")}

    async def quiet(self, worker: Worker, fate: Fate) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fate.dead and (
                len(worker.ledger)
                or len(worker.completer)
                or (fate.name in OFTEN and fate.calls[fate.name] < fate.number and self.comes(fate.name))
                or await self.left()
            ):
                await asyncio.sleep(0.002)

    def comes(self, name: str) -> bool:
        return name != "pending" or self.store.dialect == "sqlite"

    async def left(self) -> bool:
        """Whether there is something to dispatch, to move on, to run or, where its time is over, to purge."""
        [row] = await self.desk.execute(
            "SELECT (SELECT count(*) FROM {event} WHERE state <> 'dispatched' OR name = 'bazaar.passed'),"
            " (SELECT count(*) FROM {turn}), (SELECT count(*) FROM {job} WHERE finished_at IS NULL)"
        )
        return any(row)

    async def judge(self) -> None:
        names = {str(id): name for id, name in await self.desk.execute("SELECT id, name FROM {subscription}")}
        found = Counter((str(event), names[str(by)]) for event, by in await self.desk.execute(DELIVERIES))
        wanted = {(id, f"bazaar.{by}") for id, name in self.sent.items() for by in WANTED[name]}
        assert found == Counter(wanted), "every pair is delivered, once"
        states = {state for (state,) in await self.desk.execute("SELECT state FROM {job}")}
        assert states <= {"completed"}
        for id, name in self.sent.items():
            for by in WANTED[name]:
                assert bazaar.runs[by, id] >= 1, f"{by} never ran"
        opened = [id for id, name in self.sent.items() if name == "bazaar.opened"]
        effects = Counter(str(id) for (id,) in await self.desk.execute("SELECT job FROM effect"))
        assert effects == Counter(opened), "an effect inside the database happens exactly once"
        told = Counter(
            str(id) for (id,) in await self.desk.execute("SELECT causation FROM {job} WHERE event_id IS NULL")
        )
        assert set(told.values()) <= {1}
        assert len(told) == len(opened), "what a delivery sends is sent exactly once"
        assert set(bazaar.passed) == set(told), "and what it publishes"
        assert all(len(events) == 1 for events in bazaar.passed.values())
        for gate in ("north", "south"):
            began = [n for where, n in bazaar.entered if where == gate]
            assert began == sorted(began), "in order"


DELIVERIES = """
SELECT event_id, subscription FROM {job} WHERE subscription IS NOT NULL AND EXISTS (
    SELECT 1 FROM {event} WHERE {event}.id = {job}.event_id
)
UNION ALL SELECT event, subscription FROM {delivery}
"""
"""As jobs, or as what is left of them; those of events that were purged are not looked at."""


@pytest.fixture
async def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    url: str = request.getfixturevalue(f"empty_{request.param}")
    monkeypatch.setattr("remit.runtime.purger.AGAIN", 0.05)
    one = Way(open_store(url), url, monkeypatch)
    await one.desk.execute("DROP TABLE IF EXISTS effect")
    await one.desk.execute("CREATE TABLE effect (job text NOT NULL)")
    async with one.desk:
        yield one


async def begin_again(world: Way) -> None:
    bazaar.forget()
    for table in ("{job}", "{turn}", "{delivery}", "{event}", "{subscription}", "{worker}", "{leader}", "effect"):
        await world.desk.execute(f"DELETE FROM {table}")


@both_stores
@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("name", WAY)
async def test_a_crash_at_any_call_on_the_way_of_an_event(world: Way, name: str, when: When) -> None:
    for number in range(1, WAY[name] + 1):
        await begin_again(world)
        fate = Fate(name, number, when)
        await world.send(fate)
        if not fate.dead:
            await world.live(fate)
        assert fate.dead or number > 1 or not world.comes(name), f"nobody calls {name}"
        await world.funeral()
        await world.live(Fate())
        await world.judge()
