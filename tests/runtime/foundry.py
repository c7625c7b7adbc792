"""A domain whose handlers run in processes of their own: what a child imports is this, and no test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from remit import Cancelled, DeadLetter, Domain, Job, Retry, RetryAfter, Run, Skip, Snooze, fixed
from remit.errors import OwnershipError, PayloadTooLarge

AGAIN = Retry(attempts=3, backoff=fixed(0.01))


class Foundry(Domain[str], handlers="tests.runtime.foundry"):
    pass


class Refused(Exception):
    """What no retry cures."""


class Unpicklable(Refused):
    """Cannot cross to another process as it is, and has no text."""

    def __init__(self, lock: object) -> None:
        super().__init__(lock)
        self.lock = lock

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Mint(Domain[None]):
    pass


foundry = Foundry()
mint = Mint()
forge = foundry.queue("forge", concurrency=2)


class Cast(Job[Foundry], queue=forge, retry=AGAIN):
    how: str
    folder: str = ""


class CastOnce(Job[Foundry], queue=forge, retry=Retry(attempts=5, backoff=fixed(0.01), give_up_on=(Refused,))):
    pass


class Ingot(Job[Foundry]):
    number: int


class Coin(Job[Mint]):
    pass


@foundry.context
def tools() -> Iterator[str]:
    yield f"tools of {os.getpid()}"


@foundry.handles(Ingot)
async def ingot(job: Ingot, run: Run[Foundry]) -> int:
    return job.number


@foundry.handles(CastOnce, mode="process")
def cast_once(job: CastOnce, run: Run[Foundry]) -> None:
    raise Unpicklable(open(os.devnull))  # noqa: SIM115


@foundry.handles(Cast, mode="process")
def cast(job: Cast, run: Run[Foundry]) -> object:  # noqa: PLR0912 - one branch for each way to end
    first = run.attempt == 1
    match job.how:
        case "return":
            return {"pid": os.getpid(), "context": run.context, "attempt": run.attempt, "key": run.key}
        case "no json":
            return object()
        case "too much":
            try:
                run.enqueue(Ingot(number=10**60))
            except PayloadTooLarge as error:
                return str(error)
        case "trespass":
            try:
                run.enqueue(Coin())  # type: ignore[arg-type]
            except OwnershipError as error:
                return str(error)
        case "skip":
            raise Skip("nothing to cast")
        case "snooze" if not (Path(job.folder) / "snoozed").exists():
            (Path(job.folder) / "snoozed").touch()
            raise Snooze(0.01)
        case "group":
            raise BaseExceptionGroup("two", [Skip("nothing to cast"), Skip("nor to melt")])
        case "stop":
            raise Cancelled("half of it is cast")
        case "dead letter":
            raise DeadLetter("cracked")
        case "retry after" if first:
            raise RetryAfter(0.01, "too hot")
        case "fail" if first:
            run.enqueue(Ingot(number=0))
            raise ValueError("half a pair \ud800, a NUL \0")
        case "exit" if first:
            sys.exit(3)
        case "end" if first:
            os._exit(3)
        case "kill" if first:
            os.kill(os.getpid(), 9)
        case "close everything" if first:
            os.closerange(3, 100)
        case "chatter":
            print("chatter on standard output", flush=True)
        case "transaction":
            with run.sync.transaction() as tx:
                tx.execute("INSERT INTO effect (number) VALUES (1)")
                run.enqueue(Ingot(number=1))
                if first:
                    raise ValueError("after the effect")
                run.result = "in a transaction"
        case "cancel":
            (Path(job.folder) / "started").touch()
            while True:
                run.check()
                time.sleep(0.005)
    run.enqueue(Ingot(number=run.attempt))
    return None
