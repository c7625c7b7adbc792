"""The margins of a lease, by a clock that the test sets: a worker stops before another may take its jobs."""

from __future__ import annotations

import asyncio

import pytest

from remit.errors import StoreUnavailable
from remit.runtime.lease.heartbeat import Heartbeat
from remit.telemetry import Telemetry

LEASE = 10.0
MARGIN = LEASE / 5


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Liveness:
    """A counter that others see, on a network of which the test says how long it takes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.beats = 0
        self.others: dict[str, int] = {}
        self.away = self.registered_no_more = False
        self.before = self.after = self.observing = 0.0
        """Seconds until a beat takes effect, until its reply is here then, and until the counters are."""

    def beat(self, health: str | None) -> bool:
        if self.away:
            raise StoreUnavailable("away")
        self.clock.now += self.before
        self.beats += 1
        self.clock.now += self.after
        return not self.registered_no_more

    def observe(self) -> dict[str, int]:
        self.clock.now += self.observing
        return dict(self.others)

    def may_be_alive(self, worker: str) -> bool:
        return False

    def close(self) -> None: ...


class Life:
    """A worker as its heartbeat sees it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.liveness = Liveness(self.clock)
        self.fenced: list[str] = []
        self.heartbeat = Heartbeat(
            self.liveness, LEASE, Telemetry(),
            lost=self.fenced.append, health=lambda: {"ok": True}, on_loop=lambda: "nothing", clock=self.clock,
        )  # fmt: skip

    async def is_fenced(self, after: float = 0.0) -> bool:
        """Whether it is, when the watch looks so many seconds later."""
        self.clock.now += after
        self.heartbeat.check()
        await asyncio.sleep(0)  # the loop is called from threads
        return bool(self.fenced)


@pytest.fixture
async def life() -> Life:
    return Life()


async def test_a_worker_stops_itself_a_fifth_of_a_lease_before_another_may_take_its_jobs(life: Life) -> None:
    life.heartbeat.beat()
    life.liveness.away = True
    assert not await life.is_fenced(after=LEASE - MARGIN)
    assert await life.is_fenced(after=0.001)
    assert life.fenced == ["no beat reached the database for 8.0 s"]


async def test_a_lease_is_counted_from_the_sending_of_a_beat_however_late_its_reply(life: Life) -> None:
    """Others may have seen the counter move as soon as the beat was sent."""
    life.liveness.after = 3.0
    life.heartbeat.beat()
    assert not await life.is_fenced(after=LEASE - MARGIN - 3.0)
    assert await life.is_fenced(after=0.001)


async def test_a_beat_that_fails_renews_nothing(life: Life) -> None:
    life.heartbeat.beat()
    life.liveness.away = True
    for _ in range(4):
        life.clock.now += MARGIN
        life.heartbeat.beat()
    assert life.heartbeat.failing == "no beat for 6 s"
    assert await life.is_fenced(after=0.001)


async def test_a_beat_that_comes_too_late_is_not_sent(life: Life) -> None:
    """A process that was stopped for a while: the lease is gone, whatever the database would answer."""
    life.heartbeat.beat()
    life.clock.now += LEASE - MARGIN + 0.001
    life.heartbeat.beat()
    assert life.liveness.beats == 1
    assert await life.is_fenced()


async def test_a_beat_in_time_renews_the_lease(life: Life) -> None:
    life.heartbeat.beat()
    for _ in range(10):
        assert not await life.is_fenced(after=LEASE - MARGIN)
        life.heartbeat.beat()
    assert life.liveness.beats == 11


async def test_a_worker_whose_registration_is_gone_stops_at_once_and_once(life: Life) -> None:
    life.liveness.registered_no_more = True
    life.heartbeat.beat()
    life.heartbeat.beat()
    assert await life.is_fenced(after=100.0)
    assert life.fenced == ["its registration is gone: another worker declared it dead"]
    assert life.liveness.beats == 1


async def test_the_silence_of_another_worker_counts_from_the_reply_that_showed_its_counter(life: Life) -> None:
    """Its counter may have moved until then, and it stops itself a lease, less the margin, after it sent that beat."""
    life.liveness.others = {"other": 1}
    life.liveness.observing = 3.0
    life.heartbeat.beat()
    seen = life.clock.now
    life.liveness.observing = 0.0
    life.clock.now = seen + LEASE
    life.heartbeat.good = life.clock.now  # as if it had beaten meanwhile
    life.heartbeat.beat()
    assert life.heartbeat.silent() == []
    life.clock.now += 0.001
    life.heartbeat.beat()
    assert life.heartbeat.silent() == [("other", 1)]


async def test_a_probe_says_nothing_of_the_time_after_it_was_sent(life: Life) -> None:
    """However late the reply is: the other one's counter may have moved while it was under way."""
    life.liveness.others = {"other": 1}
    life.heartbeat.beat()
    life.clock.now += MARGIN * 3
    life.heartbeat.beat()
    life.clock.now += MARGIN
    life.liveness.observing = 5.0
    life.heartbeat.beat()
    assert life.heartbeat.silent() == []
