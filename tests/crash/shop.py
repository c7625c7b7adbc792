"""A domain whose jobs end in every way that a run can end, and a ledger outside the database of what they did."""

from __future__ import annotations

from collections import Counter, defaultdict

from remit import DeadLetter, Domain, Job, Retry, Run, Skip, Snooze, fixed

PATIENT = Retry(attempts=9, backoff=fixed(0))


class Crashing(Domain, handlers="tests.crash.shop", retry=PATIENT): ...


crashing = Crashing()
line = crashing.queue("line", concurrency=3)


class Succeed(Job[Crashing], queue=line):
    n: int = 0


class FailOnce(Job[Crashing], queue=line):
    n: int = 0


class FailAlways(Job[Crashing], queue=line, retry=Retry(attempts=2)):
    text: str = "kept \u0000 byte for byte \ud7ff"


class GiveUp(Job[Crashing], queue=line):
    n: int = 0


class Pass(Job[Crashing], queue=line):
    n: int = 0


class Doze(Job[Crashing], queue=line):
    n: int = 0


class Send(Job[Crashing], queue=line):
    n: int = 0


class Post(Job[Crashing], queue=line):
    n: int = 0


class PostInThread(Job[Crashing], queue=line):
    n: int = 0


class Complete(Job[Crashing], queue=line):
    n: int = 0


class Told(Job[Crashing]):
    """What `Send` and the others send."""

    by: str


KINDS = (Succeed, FailOnce, FailAlways, GiveUp, Pass, Doze, Send, Post, PostInThread, Complete)
SENDERS = ("crashing.send", "crashing.post", "crashing.post-in-thread", "crashing.complete")
POSTERS = ("crashing.post", "crashing.post-in-thread")

runs: Counter[str] = Counter()
"""How often a handler got to its end or its error, by the id of the job."""
errors: defaultdict[str, set[int]] = defaultdict(set)
"""The attempts in which a handler raised an error."""


def forget() -> None:
    runs.clear()
    errors.clear()


@crashing.handles(Succeed)
async def succeed(job: Succeed, run: Run[Crashing]) -> str:
    run.log.info("succeeding")
    runs[run.key] += 1
    return "done"


@crashing.handles(FailOnce)
async def fail_once(job: FailOnce, run: Run[Crashing]) -> None:
    runs[run.key] += 1
    if run.attempt == 1:
        errors[run.key].add(run.attempt)
        raise ValueError("the first time")


@crashing.handles(FailAlways)
async def fail_always(job: FailAlways, run: Run[Crashing]) -> None:
    runs[run.key] += 1
    errors[run.key].add(run.attempt)
    raise ValueError("every time")


@crashing.handles(GiveUp)
async def give_up(job: GiveUp, run: Run[Crashing]) -> None:
    runs[run.key] += 1
    raise DeadLetter("nobody can help")


@crashing.handles(Pass)
async def pass_over(job: Pass, run: Run[Crashing]) -> None:
    runs[run.key] += 1
    raise Skip("nothing to do")


@crashing.handles(Doze)
async def doze(job: Doze, run: Run[Crashing]) -> None:
    runs[run.key] += 1
    if runs[run.key] == 1:
        raise Snooze(0)


@crashing.handles(Send)
async def send(job: Send, run: Run[Crashing]) -> None:
    run.enqueue(Told(by="send"))
    run.enqueue(Told(by="send"), delay=0.001)
    runs[run.key] += 1


@crashing.handles(Post)
async def post(job: Post, run: Run[Crashing]) -> None:
    run.enqueue(Told(by="post"))
    run.enqueue(Told(by="post"))
    async with run.transaction() as tx:
        await tx.execute(f"INSERT INTO effect VALUES ('{run.key}')")
        run.result = "posted"
        runs[run.key] += 1


@crashing.handles(PostInThread)
def post_in_thread(job: PostInThread, run: Run[Crashing]) -> None:
    run.enqueue(Told(by="post in thread"))
    run.enqueue(Told(by="post in thread"))
    with run.sync.transaction() as tx:
        tx.execute(f"INSERT INTO effect VALUES ('{run.key}')")
        runs[run.key] += 1


@crashing.handles(Complete)
async def complete(job: Complete, run: Run[Crashing]) -> None:
    run.enqueue(Told(by="complete"))
    run.enqueue(Told(by="complete"))
    runs[run.key] += 1
    await run.complete("completed")


@crashing.handles(Told)
async def told(job: Told, run: Run[Crashing]) -> None:
    runs[run.key] += 1
