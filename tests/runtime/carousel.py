"""Two domains that answer each other, in every way in which a handler sends. A child process imports it too."""

from __future__ import annotations

from collections.abc import Callable

from remit import Domain, Event, Job, JobDied, Retry, Run, fixed
from remit.catalog import current_origin

AGAIN = Retry(attempts=3, backoff=fixed(0))


class Ask(Domain[None], retry=AGAIN):
    pass


class Reply(Domain[None], retry=AGAIN):
    pass


ask, reply = Ask(), Reply()


class Asked(Event[Ask]):
    way: str = "run.publish"


class Replied(Event[Reply]):
    way: str


class Noted(Event[Reply]):
    """Nobody answers it."""


class Think(Job[Ask]):
    way: str


class ThinkHard(Job[Ask]):
    way: str


class Round(Job[Reply]):
    number: int
    way: str = "again"


class Mortal(Job[Reply]):
    number: int = 1


def depth() -> int:
    """How many events led to what runs here."""
    origin = current_origin.get()
    assert origin is not None
    return origin.hops


class Shared:
    """What the handlers in this process share with the test."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.depths: list[tuple[str, int]] = []
        self.mourn: Callable[[JobDied, Run[Reply]], None] | None = None
        self.last = 0
        self.broken = 0


shared = Shared()


def note(what: str) -> None:
    shared.depths.append((what, depth()))


@reply.on(Asked, name="answer")
async def answer(event: Asked, run: Run[Reply]) -> None:
    note("answer")
    if shared.broken:
        shared.broken -= 1
        raise ValueError("broken")
    run.publish(Replied(way=event.way))


@ask.on(Replied, name="ask-again")
async def ask_again(event: Replied, run: Run[Ask]) -> None:
    note("ask-again")
    match event.way:
        case "run.publish":
            run.publish(Asked())
        case "run.publish_later":
            run.publish_later(Asked(way=event.way))
        case "domain.publish":
            await ask.publish(Asked(way=event.way))
        case "publish_soon":
            await ask.publish_soon(Asked(way=event.way))
        case "thread" | "domain.sync.publish":
            run.enqueue(Think(way=event.way))
        case "domain.enqueue":
            await ask.enqueue(Think(way=event.way))
        case "process":
            run.enqueue(ThinkHard(way=event.way))


@ask.handles(Think)
def think(job: Think, run: Run[Ask]) -> None:
    note("think")
    if job.way == "domain.sync.publish":
        ask.sync.publish(Asked(way=job.way))
    else:
        run.publish(Asked(way=job.way))


@ask.handles(ThinkHard, mode="process")
def think_hard(job: ThinkHard, run: Run[Ask]) -> None:
    run.publish(Asked(way=job.way))


@reply.handles(Round)
async def go_round(job: Round, run: Run[Reply]) -> None:
    note(f"round {job.number}")
    if job.way == "until-last" and job.number == shared.last:
        return
    run.publish(Noted())
    run.enqueue(Round(number=job.number + 1, way=job.way), **({"delay": 86_400} if job.way == "tomorrow" else {}))


@reply.handles(Mortal)
async def die(job: Mortal, run: Run[Reply]) -> None:
    note(f"mortal {job.number}")
    raise ValueError("dies")


@reply.on(JobDied, name="mourn")
async def mourn(event: JobDied, run: Run[Reply]) -> None:
    note("mourn")
    if shared.mourn is not None:
        shared.mourn(event, run)
