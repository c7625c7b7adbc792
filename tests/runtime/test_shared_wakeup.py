"""The shared wakeup: several parts of a worker sleep on one wakeup of the store, and none misses a commit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from remit import schema
from remit.db import fallbacks
from remit.db.opening import open_store
from remit.db.store import ANYTHING, EVENTS, JOBS, Capability, Notify, Store, Wakeup
from remit.db.transaction import Database, Role
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.outbox import operations as outbox
from remit.runtime.wakeup import FASTEST, SLOWEST, Found, Poller, SharedWakeup
from remit.telemetry import Telemetry

ASLEEP = 1000.0


class QuietWakeup:
    """A wakeup without a clock: it notifies when a test commits, and only while it is armed, as the real ones may."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self.armed = False
        self.closed = 0
        self.said: list[str] = []
        self.hold: asyncio.Event | None = None
        """Lets a verb wait in the middle."""

    async def arm(self) -> float:
        await self._take("arm")
        self.armed = True
        return ASLEEP

    async def disarm(self) -> None:
        await self._take("disarm")
        self.armed = False

    async def close(self) -> None:
        self.closed += 1

    async def _take(self, verb: str) -> None:
        self.said.append(verb)
        if self.hold is not None:
            await self.hold.wait()

    def commit(self) -> None:
        """Somebody has sent something: it is heard only by who sleeps."""
        if self.armed:
            self.notify(ANYTHING)


class Part(Poller):
    """A producer or a relay without a store: it takes one thing at a look."""

    def __init__(self, name: str, wakeup: SharedWakeup) -> None:
        self.name = name
        hears = {"producer": JOBS, "relay": EVENTS}[name]
        super().__init__(cast("Database", None), wakeup, Telemetry(), hears=hears)
        self.woken = asyncio.Event()
        self.there = 0
        self.found = 0
        self.pause = 0.0
        self.asleep = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()

    @property
    def is_woken(self) -> bool:
        return self.woken.is_set()

    async def poll(self) -> Found:
        if not self.there:
            return Found.NOTHING
        self.there -= 1
        self.found += 1
        return Found.MORE if self.there else Found.ALL

    async def turn(self) -> float:
        """The pause is kept, not slept."""
        self.pause = await super().turn()
        return self.pause

    async def run(self) -> None:
        """Turns for ever; sleeps, however long the pause, until woken, or for a moment where the pause is short."""
        while True:
            await self.turn()
            if self.pause >= 1.0:
                self.asleep.set()
                await self.woken.wait()
                self.asleep.clear()
            elif self.pause:
                await asyncio.sleep(0)
            self.woken.clear()


class Two:
    """A shared wakeup with two parts, on a wakeup without a clock."""

    def __init__(self) -> None:
        made: list[QuietWakeup] = []

        def make(notify: Notify) -> Wakeup:
            made.append(QuietWakeup(notify))
            return made[0]

        self.shared = SharedWakeup(make)
        self.wakeup = made[0]
        self.producer = Part("producer", self.shared)
        self.relay = Part("relay", self.shared)


@pytest.fixture
async def two() -> Two:
    return Two()


async def test_the_wakeup_is_armed_only_when_every_part_is_idle(two: Two) -> None:
    await two.producer.turn()
    assert not two.wakeup.armed, "the relay may still be busy: nobody need ring"
    await two.relay.turn()
    assert two.wakeup.armed
    assert two.relay.pause == ASLEEP


async def test_an_idle_part_looks_for_itself_while_the_other_is_busy_ever_less_often(two: Two) -> None:
    two.relay.there = 1000
    pauses = []
    for _ in range(30):
        await two.relay.turn()
        await two.producer.turn()
        pauses.append(two.producer.pause)
    assert pauses[0] == pytest.approx(FASTEST)
    assert pauses == sorted(pauses)
    assert pauses[-1] == SLOWEST
    assert two.wakeup.said == []


async def test_who_took_all_that_was_there_sleeps_on_and_is_rung_for(two: Two) -> None:
    """One job, one look: nobody disarms the wakeup and arms it again."""
    await two.producer.turn()
    await two.relay.turn()
    for _ in range(3):
        two.producer.there = 1
        await two.producer.turn()
        assert two.producer.pause == ASLEEP
        assert two.wakeup.armed
    assert two.wakeup.said == ["arm"] * len(two.wakeup.said)


async def test_who_is_woken_while_it_takes_all_looks_again(two: Two) -> None:
    await two.producer.turn()
    await two.relay.turn()
    two.producer.there = 1
    two.wakeup.commit()
    await two.producer.turn()
    assert two.producer.pause == 0.0
    assert not two.wakeup.armed, "it is busy: nobody need ring"


@pytest.mark.parametrize("news, woken", [(JOBS, ["producer"]), (EVENTS, ["relay"]), (ANYTHING, ["producer", "relay"])])
async def test_a_notification_wakes_the_parts_that_it_concerns(two: Two, news: str, woken: list[str]) -> None:
    two.wakeup.notify(news)
    assert [part.name for part in (two.producer, two.relay) if part.woken.is_set()] == woken


async def test_a_part_that_becomes_busy_disarms_the_wakeup_and_wakes_the_one_that_slept_on_it(two: Two) -> None:
    await two.producer.turn()
    await two.relay.turn()
    two.relay.woken.clear()
    two.producer.there = 2
    await two.producer.turn()
    assert not two.wakeup.armed
    assert two.relay.woken.is_set(), "nobody rings for it any more"
    await two.relay.turn()
    assert two.relay.pause <= SLOWEST


async def test_a_part_that_was_idle_while_the_other_was_busy_arms_the_wakeup_at_its_next_look(two: Two) -> None:
    await two.producer.turn()
    two.relay.there = 2
    await two.relay.turn()
    await two.producer.turn()
    assert not two.wakeup.armed
    await two.relay.turn()
    await two.relay.turn()  # finds nothing: the end of being busy
    await two.relay.turn()
    assert two.wakeup.armed
    await two.producer.turn()
    assert two.producer.pause == ASLEEP


async def test_a_part_that_waits_for_the_wakeup_while_the_other_becomes_busy_does_not_sleep(two: Two) -> None:
    await two.producer.turn()
    two.wakeup.hold = asyncio.Event()
    settling = asyncio.create_task(two.relay.turn())
    await asyncio.sleep(0)
    two.producer.there = 2
    rousing = asyncio.create_task(two.producer.turn())
    await asyncio.sleep(0)
    two.wakeup.hold.set()
    await asyncio.gather(settling, rousing)
    assert two.relay.woken.is_set() or two.relay.pause <= SLOWEST, "it would sleep, and nobody would ring"


async def test_the_last_part_to_leave_closes_the_wakeup(two: Two) -> None:
    await two.shared.leave("producer")
    assert not two.wakeup.closed
    await two.relay.turn()
    assert two.wakeup.armed, "who has left is waited for no more"
    await two.shared.leave("relay")
    assert two.wakeup.closed == 1


async def test_when_a_busy_part_leaves_the_idle_one_may_sleep(two: Two) -> None:
    two.producer.there = 10
    await two.producer.turn()
    await two.relay.turn()
    assert not two.wakeup.armed
    await two.shared.leave("producer")
    await two.relay.turn()
    assert two.wakeup.armed
    assert two.relay.pause == ASLEEP


async def test_when_a_part_leaves_that_slept_the_other_is_still_rung_for(two: Two) -> None:
    await two.producer.turn()
    await two.relay.turn()
    await two.shared.leave("producer")
    two.relay.woken.clear()
    two.wakeup.commit()
    assert two.relay.woken.is_set()


@pytest.mark.parametrize("seed", range(20))
async def test_no_wake_up_is_lost_whatever_the_order(two: Two, seed: int) -> None:
    """What was committed is found though nobody's sleep ever ends by time."""
    chance = random.Random(seed)
    parts = [two.producer, two.relay]
    running = [asyncio.create_task(part.run()) for part in parts]
    sent = {part.name: 0 for part in parts}
    try:
        async with asyncio.timeout(10):
            for _ in range(200):
                part = chance.choice(parts)
                part.there += (more := chance.randrange(1, 4))
                sent[part.name] += more
                two.wakeup.commit()
                for _ in range(chance.choice([0, 0, 1, 2, 5, 20])):
                    await asyncio.sleep(0)
            while [part.found for part in parts] != [sent[part.name] for part in parts]:
                await asyncio.sleep(0)
            await asyncio.gather(*(part.asleep.wait() for part in parts))
            assert two.wakeup.armed
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


# --- with the wakeups of the stores


class Real:
    """A wakeup on a store, and what is sent to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shared = SharedWakeup(store.wakeup)
        self.producer = Part("producer", self.shared)
        self.relay = Part("relay", self.shared)
        self.database = store.database(Role.CLIENT)

    async def enqueue(self) -> None:
        job = {
            "id": new_id(), "line": 7, "version": 1, "priority": 0, "attempts": 3, "domain": "d", "queue": "d.q",
            "name": "d.j", "encoding": "json", "payload": "{}",
        }  # fmt: skip
        await self._send(jobs.enqueue, job)

    async def publish(self) -> None:
        event = {
            "id": new_id(), "version": 1, "domain": "d", "name": "d.e", "encoding": "json", "payload": "{}",
        }  # fmt: skip
        await self._send(outbox.publish, event)

    async def _send(self, insert: Any, row: dict[str, Any]) -> None:
        identity = await self.database.run(jobs.store, atomic=False)
        await self.database.run(lambda tx: insert(tx, [row], store=identity), atomic=False)

    async def asleep(self) -> None:
        """Both parts sleep on the wakeup."""
        async with asyncio.timeout(10):
            while True:
                await self.producer.turn()
                await self.relay.turn()
                await self.producer.turn()
                if min(self.producer.pause, self.relay.pause) >= fallbacks.WAKEUP:
                    break
                await asyncio.sleep(0.005)
        self.producer.woken.clear()
        self.relay.woken.clear()

    async def woken(self, part: Part) -> None:
        async with asyncio.timeout(10):
            await part.woken.wait()


@pytest.fixture
async def real(store_url: str) -> AsyncIterator[Real]:
    store = open_store(store_url)
    schema.migrate(store)
    one = Real(store)
    yield one
    await one.shared.leave("producer")
    await one.shared.leave("relay")
    await one.database.close()


def sends(real: Real, what: str) -> Callable[[], Awaitable[None]]:
    return real.publish if what == "event" else real.enqueue


@pytest.mark.parametrize("what", ["event", "job"])
async def test_both_idle_what_is_sent_wakes_whom_it_concerns(real: Real, what: str) -> None:
    one, other = (real.relay, real.producer) if what == "event" else (real.producer, real.relay)
    for _ in range(3):
        await real.asleep()
        await sends(real, what)()
        await real.woken(one)
        if Capability.NOTIFY in real.store.capabilities:
            assert not other.woken.is_set()


@pytest.mark.parametrize("busy", ["producer", "relay"])
async def test_one_is_busy_the_other_is_rung_for_or_looks_soon(real: Real, busy: str) -> None:
    """Between the busy part's rouse and the idle part's next settle nobody rings: the pause must be short."""
    one, other = (real.producer, real.relay) if busy == "producer" else (real.relay, real.producer)
    await real.asleep()
    one.there = 3
    await one.turn()
    assert other.woken.is_set()
    await (real.publish if other is real.relay else real.enqueue)()
    await other.turn()
    assert other.pause <= SLOWEST


async def test_the_one_that_stays_is_rung_for_when_the_other_has_left(real: Real) -> None:
    await real.asleep()
    await real.shared.leave("producer")
    await real.relay.turn()
    real.relay.woken.clear()
    await real.publish()
    async with asyncio.timeout(10):
        await real.relay.woken.wait()
