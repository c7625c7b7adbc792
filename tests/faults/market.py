"""The application under fault for events: the market publishes, the guild subscribes. It runs in real worker processes.

Subscribers append to the ledger, by the id of the event. `FAULTS_RELEASE` names a release, in which one thing differs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from remit import DeadLetter, Domain, Event, Job, JobDied, Keep, Retry, Run, fixed
from tests.faults.application import crash, effect, folder, opened, pass_blocking, passing
from tests.faults.ledger import Ledger

RELEASE = os.environ.get("FAULTS_RELEASE", "")
PATIENT = Retry(attempts=1000, backoff=fixed(0.01))
TWICE = Retry(attempts=2, backoff=fixed(0.01))


class Market(Domain[None], handlers="tests.faults.market", retry=TWICE):
    """Publishes."""


class Guild(Domain[None], handlers="tests.faults.market", retry=TWICE):
    """Subscribes."""


market, guild = Market(), Guild()
domains = [market, guild]
stalls = guild.queue("stalls", concurrency=20)
books = guild.queue("books", concurrency=2)
threads = guild.queue("threads", concurrency=4)
errands = guild.queue("errands", concurrency=20, keep=Keep(age=86_400.0, count=10_000_000))
sales = market.queue("sales", concurrency=10)


class Rung(Event[Market]):
    """Unordered; the subscriber waits for its gate."""

    number: int
    kind: str = "plain"
    gate: str = ""


class Paid(Event[Market], ordered_by="account"):
    """Ordered; the deliveries of which the gate is not open yet wait."""

    number: int
    account: str
    gate: str = ""
    fails: bool = False


class Sold(Event[Market], ordered_by="stall"):
    """What ten publishers publish at once, to five subscriptions."""

    number: int
    stall: str
    kind: str


class Quoted(Event[Market], version=2 if RELEASE == "quoted-2" else 1):
    """One release knows version 2 alone."""

    number: int


class Broken(Event[Market]):
    """Its subscriber ends badly: by an error, a dead letter, or the end of its worker."""

    number: int
    how: str


class Sell(Job[Market], queue=sales):
    """Publishes an ordered and a plain event, and sends a job, if it succeeds; ends as it is told."""

    number: int
    how: str = "return"
    gate: str = ""


class SellInThread(Job[Market], queue=sales):
    """The same, blocking."""

    number: int
    how: str = "return"
    gate: str = ""


class SellInProcess(Job[Market], queue=sales):
    """The same, in a process of its own."""

    number: int
    how: str = "return"
    gate: str = ""


class SellSlowly(Job[Market], queue=sales, timeout=0.3):
    """The same as `Sell`, and has little time."""

    number: int
    how: str = "return"
    gate: str = ""


class Perish(Job[Market], queue=sales):
    """Ends badly, as it is told."""

    number: int
    how: str


class Errand(Job[Guild], queue=errands):
    """What a subscriber sends; all are kept, to be counted."""

    number: int


def line(what: str, event: Any, run: Run[Any], by: str) -> None:
    assert run.event is not None
    Ledger(folder()).write(
        what, run.event.id, by=by, number=event.number, attempt=run.attempt, pid=os.getpid(), key=run.key
    )


@contextlib.contextmanager
def delivered(event: Any, run: Run[Any], by: str) -> Iterator[None]:
    """A line when the handler starts, and one when it ends in its own way."""
    line("started", event, run, by)
    yield
    line("ended", event, run, by)


# --- subscribers, release by release

if RELEASE != "noteless":
    NAMES: dict[str, Any] = {"name": "scribe", "aliases": ("note",)} if RELEASE == "scribe" else {"name": "note"}

    async def take_a_note(event: Rung, run: Run[Guild]) -> None:
        with delivered(event, run, "note"):
            await passing(event.gate)

    async def write_it_down(event: Rung, run: Run[Guild]) -> None:
        await take_a_note(event, run)

    guild.on(Rung, queue=stalls, **NAMES)(write_it_down if RELEASE == "refunctioned" else take_a_note)


@guild.on(Rung, name="picky", queue=stalls, where={"kind": "dear" if RELEASE == "dear" else "fine"})
async def picky(event: Rung, run: Run[Guild]) -> None:
    with delivered(event, run, "picky"):
        pass


if RELEASE == "late":

    @guild.on(Rung, name="late", queue=stalls)
    async def late(event: Rung, run: Run[Guild]) -> None:
        with delivered(event, run, "late"):
            pass


@guild.on(Paid, name="teller", queue=stalls, ordered_by="account", retry=PATIENT)
async def teller(event: Paid, run: Run[Guild]) -> None:
    with delivered(event, run, "teller"):
        await passing(event.gate)
        if event.fails and run.attempt < 3:
            raise ValueError("not yet")


@guild.on(Quoted, name="quotes", queue=stalls)
async def quotes(event: Quoted, run: Run[Guild]) -> None:
    with delivered(event, run, "quotes"):
        pass


@guild.on(Broken, name="fragile", queue=stalls)
async def fragile(event: Broken, run: Run[Guild]) -> None:
    with delivered(event, run, "fragile"):
        crash_or_raise(event.how)


# --- the five of `Sold`


def fails_at_times(event: Sold, run: Run[Any]) -> None:
    if event.number % 7 == 0 and run.attempt == 1:
        raise ValueError("at times")


@guild.on(Sold, name="in-order", queue=stalls, ordered_by="stall", retry=PATIENT)
async def in_order(event: Sold, run: Run[Guild]) -> None:
    with delivered(event, run, "in-order"):
        fails_at_times(event, run)


@guild.on(Sold, name="even", queue=stalls, where={"kind": ["even", "four"]}, retry=PATIENT)
async def even(event: Sold, run: Run[Guild]) -> None:
    with delivered(event, run, "even"):
        pass


@guild.on(Sold, name="moody", queue=threads, retry=PATIENT)
def moody(event: Sold, run: Run[Guild]) -> None:
    with delivered(event, run, "moody"):
        fails_at_times(event, run)


@guild.on(Sold, name="book", queue=books, retry=PATIENT)
async def book(event: Sold, run: Run[Guild]) -> None:
    assert run.event is not None
    async with run.transaction() as tx:
        await tx.execute(effect(), [run.event.id, event.number, run.attempt])
        line("started", event, run, "book")


@guild.on(Sold, name="sender", queue=stalls, retry=PATIENT)
async def sender(event: Sold, run: Run[Guild]) -> None:
    with delivered(event, run, "sender"):
        run.enqueue(Errand(number=event.number), attempts=1000)


@guild.handles(Errand)
async def errand(job: Errand, run: Run[Guild]) -> None:
    Ledger(folder()).write("errand", run.job_id, number=job.number, pid=os.getpid())


# --- jobs that publish


def sell(job: Any, run: Run[Market]) -> None:
    Ledger(folder()).write("selling", run.job_id, number=job.number, attempt=run.attempt, pid=os.getpid())
    run.publish(Paid(number=job.number, account="one"))
    run.publish(Rung(number=job.number))


@market.handles(SellSlowly)
async def sell_slowly(job: SellSlowly, run: Run[Market]) -> None:
    sell(job, run)
    await passing(job.gate)


@market.handles(Sell)
async def sell_async(job: Sell, run: Run[Market]) -> None:
    sell(job, run)
    await passing(job.gate)
    crash_or_raise(job.how)


@market.handles(SellInThread)
def sell_in_thread(job: SellInThread, run: Run[Market]) -> None:
    sell(job, run)
    pass_blocking(job.gate)
    crash_or_raise(job.how)


@market.handles(SellInProcess, mode="process")
def sell_in_process(job: SellInProcess, run: Run[Market]) -> None:
    sell(job, run)
    pass_blocking(job.gate)
    crash_or_raise(job.how)


@market.handles(Perish)
async def perish(job: Perish, run: Run[Market]) -> None:
    Ledger(folder()).write("perishing", run.job_id, number=job.number, attempt=run.attempt, pid=os.getpid())
    crash_or_raise(job.how)


def crash_or_raise(how: str) -> None:
    match how:
        case "return":
            return
        case "raise":
            raise ValueError("as told")
        case "dead letter":
            raise DeadLetter("beyond help")
        case _:
            if not opened("spare"):
                crash(how)


# --- who is told of deaths


@market.exhausted(Perish, name="mourner")
async def mourn(died: JobDied, run: Run[Market]) -> None:
    Ledger(folder()).write("mourned", died.job, name=died.name, reason=died.reason, by="mourner", died=died.event)


@guild.exhausted("fragile", name="undertaker")
async def undertake(died: JobDied, run: Run[Guild]) -> None:
    Ledger(folder()).write("mourned", died.job, name=died.name, reason=died.reason, by="undertaker", died=died.event)


@guild.on(JobDied, name="faint", queue=stalls, retry=Retry(attempts=1))
async def faint(died: JobDied, run: Run[Guild]) -> None:
    Ledger(folder()).write("fainted", died.job, name=died.name, key=run.key)
    raise ValueError("dies of every death")
