"""Dead letters that are replayed a few at a time: `app.jobs.replay(in_flight=…)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from remit import DeadLetter, Domain, Job, Remit, Retry, Run, State, fixed
from remit.client import Jobs
from remit.db.transaction import BlockingDatabase, Role, T, Work, run_blocking
from remit.errors import InvalidArgument


class Repairs(Domain):
    """Whose jobs fail until something is mended."""


repairs = Repairs()
bench = repairs.queue("bench", concurrency=8)


class Fix(Job[Repairs], queue=bench, retry=Retry(attempts=1)):
    number: int


class Insist(Job[Repairs], queue=bench, retry=Retry(attempts=2, backoff=fixed(3600))):
    number: int


class Mend:
    """What the handlers find, and how many they were at once."""

    done = False
    hopeless = True
    running = 0
    most = 0


@repairs.handles(Fix)
async def fix(job: Fix, run: Run[Repairs]) -> None:
    Mend.running += 1
    Mend.most = max(Mend.most, Mend.running)
    try:
        if not Mend.done:
            raise LookupError("the spanner is missing")
    finally:
        Mend.running -= 1


@repairs.handles(Insist)
async def insist(job: Insist, run: Run[Repairs]) -> None:
    raise DeadLetter("there is no spanner") if Mend.hopeless else LookupError("the spanner is missing")


@pytest.fixture
def app(store_url: str) -> Iterator[Remit]:
    app = Remit(store_url, domains=[repairs])
    app.sync.migrate()
    Mend.done, Mend.hopeless, Mend.running, Mend.most = False, True, 0, 0
    with app.bound(), app.sync:
        yield app


class Stepping:
    """A database in the clothes of an asyncio one, which does something instead of sleeping."""

    def __init__(self, database: BlockingDatabase, step: Callable[[], None]) -> None:
        self._database = database
        self._step = step

    async def run(self, work: Work[T], *, atomic: bool = True) -> T:
        return self._database.run(work, atomic=atomic)

    async def sleep(self, seconds: float) -> None:
        self._step()


@pytest.fixture
def stepping(app: Remit) -> Iterator[Callable[[Callable[[], None]], Jobs]]:
    """Jobs on a real store, with a step of the test's where a replay would sleep."""
    database = app.store.blocking(Role.CLIENT)
    yield lambda step: Jobs(Stepping(database, step))
    database.close()


def letters(app: Remit, *jobs: Job[Repairs]) -> list[str]:
    """Send jobs, and let them die."""
    refs = [repairs.sync.enqueue(job) for job in jobs]
    app.sync.drain()
    return [ref.id for ref in refs]


def count(app: Remit, *states: State) -> int:
    return sum(job.state in states for job in app.sync.jobs.list(limit=1000).jobs)


Stepper = Callable[[Callable[[], None]], Jobs]


def test_no_more_than_so_many_are_under_way_at_once(app: Remit, stepping: Stepper) -> None:
    letters(app, *(Fix(number=number) for number in range(7)))
    Mend.done, seen, told = True, list[int](), list[int]()

    def step() -> None:
        seen.append(count(app, State.READY, State.RUNNING))
        app.sync.drain()

    assert run_blocking(stepping(step).replay(in_flight=3, progress=told.append)) == 7
    assert (seen, told) == ([3, 3], [3, 6, 7])
    app.sync.drain()
    assert count(app, State.COMPLETED) == 7


def test_one_that_waits_for_its_next_attempt_is_under_way(app: Remit, stepping: Stepper) -> None:
    first, second = letters(app, Insist(number=1), Insist(number=2))
    Mend.hopeless, seen = False, list[State]()
    steps = iter([app.sync.drain, lambda: None, lambda: app.sync.jobs.cancel(first)])

    def step() -> None:
        next(steps)()
        seen.append(app.sync.jobs.get(first).state)
        assert app.sync.jobs.get(second).state is State.DEAD, "the first is not over"

    assert run_blocking(stepping(step).replay(in_flight=1)) == 2
    assert seen == [State.SCHEDULED, State.SCHEDULED, State.CANCELLED]
    assert app.sync.jobs.get(second).state is State.READY


def test_a_letter_that_dies_again_makes_room_and_is_not_replayed_twice(app: Remit, stepping: Stepper) -> None:
    letters(app, *(Fix(number=number) for number in range(4)))
    assert run_blocking(stepping(app.sync.drain).replay(in_flight=1)) == 4
    app.sync.drain()
    assert count(app, State.DEAD) == 4


def test_nothing_is_waited_for_behind_the_last(app: Remit, stepping: Stepper) -> None:
    letters(app, Fix(number=1), Fix(number=2))

    def never() -> None:
        raise AssertionError("there is nothing to wait for")

    assert run_blocking(stepping(never).replay(in_flight=2)) == 2


def test_one_that_was_removed_meanwhile_makes_room(app: Remit, stepping: Stepper) -> None:
    first, second = letters(app, Fix(number=1), Fix(number=2))

    def step() -> None:
        app.sync.jobs.delete(first, purge=True)

    assert run_blocking(stepping(step).replay(in_flight=1)) == 2
    assert app.sync.jobs.get(second).state is State.READY


async def test_a_worker_meanwhile_runs_no_more_at_once(store_url: str) -> None:
    app = Remit(store_url, domains=[repairs])
    await app.migrate()
    Mend.done, Mend.hopeless, Mend.running, Mend.most = False, True, 0, 0
    with app.bound():
        async with app:
            await repairs.enqueue_many([Fix(number=number) for number in range(20)])
            await app.drain()
            Mend.done, Mend.most = True, 0
            async with app.worker() as worker:
                assert await app.jobs.replay(queue="repairs.bench", in_flight=2) == 20
                await worker.drain()
            assert {job.state for job in (await app.jobs.list()).jobs} == {State.COMPLETED}
    assert 1 <= Mend.most <= 2


def test_the_count_before_a_replay_knows_the_age_too(app: Remit) -> None:
    letters(app, Fix(number=1), Fix(number=2))
    now = datetime.now(UTC)
    assert app.sync.jobs.count(state="dead", ended_before=now - timedelta(hours=1)) == 0
    assert app.sync.jobs.count(state="dead", ended_before=now + timedelta(hours=1)) == 2
    with pytest.raises(InvalidArgument, match="ended_before has no time zone"):
        app.sync.jobs.count(state="dead", ended_before=datetime(2026, 1, 31))  # noqa: DTZ001 - that is what is refused


@pytest.mark.parametrize("number", [0, -1, True])
def test_in_flight_is_a_number_of_jobs(app: Remit, number: int) -> None:
    with pytest.raises(InvalidArgument, match="in_flight is how many may be under way at once, 1 or more"):
        app.sync.jobs.replay(in_flight=number)
