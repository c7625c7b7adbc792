"""A crash at every call to the store on an event's way: publish, dispatch, release, deliver, purge.

Whatever it was, the next worker brings every event to every subscriber, in order where that was promised, with its
effects inside the database exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from remit.db.opening import open_store
from remit.errors import StoreError
from tests.crash import bazaar
from tests.crash.calls import FIRST_LIFE, NOT_COUNTED, WAY, struck
from tests.crash.dying import Fate, When
from tests.crash.test_every_call import World, both_stores, each, either_way, perhaps, say, strike, surely

WANTED = {"bazaar.opened": ("look", "record", "forward"), "bazaar.entered": ("admit",), "bazaar.passed": ("hear",)}


class Way(World):
    """A database, and the publishers and workers that come and go on it."""

    domain = bazaar.bazaar
    prune_every = 0.05

    async def begin_again(self) -> None:
        bazaar.forget()
        await self.empty(
            "{job}", "{turn}", "{delivery}", "{event}", "{subscription}", "{worker}", "{leader}", "{effect}"
        )  # fmt: skip

    async def send(self, fate: Fate) -> None:
        app = self.app(fate)
        with app.bound():
            try:
                await bazaar.bazaar.publish_many([
                    *(bazaar.Opened(n=n) for n in range(2)),
                    *(bazaar.Entered(n=n, gate="north") for n in range(4)),
                    bazaar.Entered(n=0, gate="south"),
                ])  # fmt: skip
                await bazaar.bazaar.publish(bazaar.Entered(n=1, gate="south"))
            except StoreError:
                assert fate.dead
            finally:
                await app._connections.close()
        self.sent = {str(id): name for id, name in await self.desk.execute("SELECT id, name FROM {event}")}

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
        effects = Counter(str(id) for (id,) in await self.desk.execute("SELECT job FROM {effect}"))
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
    monkeypatch.setattr("remit.runtime.duties.event_pruner.AGAIN", 0.05)
    monkeypatch.setattr("remit.db.fallbacks.PROMOTER", 0.05)
    one = Way(open_store(url), url, monkeypatch)
    await one.desk.execute("DROP TABLE IF EXISTS {effect}")
    await one.desk.execute("CREATE TABLE {effect} (job text NOT NULL)")
    async with one.desk:
        yield one


@each(WAY, surely)
@either_way
async def test_a_crash_at_any_call_on_the_way_of_an_event(
    world: Way, name: str, numbers: Sequence[int], when: When
) -> None:
    assert await strike(world, Way.first_life, name, numbers, when) == [], "a number that was not made"


@each(WAY, perhaps)
@either_way
async def test_a_crash_at_a_call_on_the_way_that_may_come(
    world: Way, name: str, numbers: Sequence[int], when: When
) -> None:
    say(name, await strike(world, Way.first_life, name, numbers, when))


@both_stores
async def test_whatever_is_called_on_the_way_is_struck(world: Way) -> None:
    await world.begin_again()
    fate = Fate()
    await world.first_life(fate)
    await world.judge()
    assert set(fate.calls) - NOT_COUNTED <= struck(world.store.dialect, FIRST_LIFE, WAY)
