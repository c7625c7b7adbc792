"""Events on every way that they can go to their subscribers, and a ledger outside the database of what came of it."""

from __future__ import annotations

from collections import Counter, defaultdict

from remit import Domain, Event, Job, Keep, Retry, Run, fixed

PATIENT = Retry(attempts=9, backoff=fixed(0))


class Bazaar(Domain, handlers="tests.crash.bazaar", retry=PATIENT): ...


bazaar = Bazaar()
line = bazaar.queue("line", concurrency=4)


class Opened(Event[Bazaar]):
    n: int


class Entered(Event[Bazaar], ordered_by="gate"):
    n: int
    gate: str


class Passed(Event[Bazaar], keep=0):
    """What a subscriber publishes; purged as soon as it was delivered."""

    n: int


class Told(Job[Bazaar], queue=line):
    """What a subscriber sends."""

    n: int


runs: Counter[tuple[str, str]] = Counter()
"""How often a subscriber got to its end, or its error: by subscription and event."""
entered: list[tuple[str, int]] = []
"""The ordered ones, in the order in which they began."""
passed: defaultdict[str | None, set[str]] = defaultdict(set)
"""The events that were published by a delivery, by its id."""


def forget() -> None:
    runs.clear()
    entered.clear()
    passed.clear()


def note(by: str, run: Run[Bazaar]) -> None:
    assert run.event is not None
    runs[by, run.event.id] += 1


@bazaar.on(Opened, name="look", queue=line, keep=Keep(age=0))
async def look(event: Opened, run: Run[Bazaar]) -> None:
    note("look", run)


@bazaar.on(Opened, name="record", queue=line)
async def record(event: Opened, run: Run[Bazaar]) -> None:
    assert run.event is not None
    async with run.transaction() as tx:
        await tx.execute(f"INSERT INTO effect VALUES ('{run.event.id}')")
        note("record", run)


@bazaar.on(Opened, name="forward", queue=line)
async def forward(event: Opened, run: Run[Bazaar]) -> None:
    run.enqueue(Told(n=event.n))
    run.publish(Passed(n=event.n))
    note("forward", run)


@bazaar.on(Entered, name="admit", queue=line, ordered_by="gate")
async def admit(event: Entered, run: Run[Bazaar]) -> None:
    entered.append((event.gate, event.n))
    note("admit", run)
    if event.n == 2 and run.attempt == 1:
        raise ValueError("the first time")


@bazaar.on(Passed, name="hear", queue=line)
async def hear(event: Passed, run: Run[Bazaar]) -> None:
    assert run.event is not None
    passed[run.event.causation].add(run.event.id)
    note("hear", run)


@bazaar.handles(Told)
async def told(job: Told, run: Run[Bazaar]) -> None:
    pass
