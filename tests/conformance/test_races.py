"""Two statements meet on one row. Each race is staged with real locks: the first statement's transaction is held open
until the second has passed the row, or waits for it.

Only where several may write at once can they meet; elsewhere the store's one lock is the proof.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from remit.db.opening import open_store
from remit.db.transaction import Role, Transaction
from remit.execution import operations as execution
from remit.execution.model import Allotment, Ended
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, Interrupted, State, decide
from remit.runtime import operations as workers
from tests.conformance.desk import BOOM, QUEUE, SECOND, Desk, a_job, ended, message_of
from tests.conformance.model import Model
from tests.conformance.test_model import OUTCOMES, QUEUES, Twins

Answer = Any
Operation = Callable[[Transaction], Coroutine[Any, Any, Answer]]


async def waiters(desk: Desk) -> int:
    """How many sessions of this database wait for a lock."""
    [(count,)] = await desk.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(count)


async def passed_or_waits(desk: Desk, *tasks: asyncio.Task[Any]) -> None:
    """Until each of the tasks is done, or waits for a lock."""
    async with asyncio.timeout(20):
        while await waiters(desk) < sum(not task.done() for task in tasks):
            await asyncio.sleep(0)


async def waits(desk: Desk, *tasks: asyncio.Task[Any]) -> None:
    """Until all of the tasks wait for a lock."""
    await passed_or_waits(desk, *tasks)
    assert [task.done() for task in tasks] == [False] * len(tasks)


@asynccontextmanager
async def meanwhile(desk: Desk) -> AsyncIterator[tuple[Transaction, Callable[..., asyncio.Task[Any]]]]:
    """A transaction that is open while the block runs, and a way to start something on other connections."""

    def start(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(desk.another()(operation, *args, **kwargs))

    async with desk.session() as (tx, _):
        yield tx, start


async def old_and_dead(desk: Desk) -> str:
    id = await desk.in_state(State.DEAD)
    desk.wait(100)
    return id


async def rescue(tx: Transaction, token: int) -> list[tuple[str, State, bool]]:
    return [job[:3] for job in await execution.rescue(tx, token=token, limit=5)]


EVERYTHING: dict[str, Any] = dict.fromkeys(["domain", "queue", "name", "reason", "ended_before", "after"])
PRUNE: dict[str, Any] = {"queue": QUEUE, "age": 1.0, "dead": True, "limit": 10}


async def test_prune_leaves_what_is_being_replayed(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await old_and_dead(desk)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.replay(tx, **EVERYTHING, token=new_token(), limit=10) == [id]
        assert await start(jobs.prune, **PRUNE) == 0
    assert await desk.state(id) is State.READY
    assert await desk(jobs.prune, **PRUNE) == 0


async def test_replay_leaves_what_is_being_pruned(postgres_desk: Desk) -> None:
    desk = postgres_desk
    await old_and_dead(desk)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.prune(tx, **PRUNE) == 1
        assert await start(jobs.replay, **EVERYTHING, token=new_token(), limit=10) == []
    assert await desk.count("job") == 0


async def test_prune_leaves_what_is_being_retried(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await old_and_dead(desk)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.retry(tx, id, token=new_token()) == (State.DEAD, True)
        assert await start(jobs.prune, **PRUNE) == 0
    assert await desk.state(id) is State.READY


async def test_a_retry_waits_for_the_pruner_and_finds_the_job_gone(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await old_and_dead(desk)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.prune(tx, **PRUNE) == 1
        retried = start(jobs.retry, id, token=new_token())
        await waits(desk, retried)
    assert await retried == (None, False)


async def test_rescue_leaves_what_is_being_completed(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk.die(worker)
    async with meanwhile(desk) as (tx, start):
        await execution.complete(tx, ended(claim, Completed()), worker=worker, stamp=new_token())
        assert await start(execution.rescue, token=new_token(), limit=10) == []
    assert await desk.rescue() == []
    assert await desk.state(claim.id) is State.COMPLETED


async def test_a_completion_waits_for_the_rescuer_and_is_refused(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker = await desk.register()
    claim = await desk.running(worker)
    await desk.die(worker)
    async with meanwhile(desk) as (tx, start):
        assert [job[:3] for job in await execution.rescue(tx, token=new_token(), limit=10)] == [
            (claim.id, State.READY, False)
        ]
        late = [ended(claim, Completed(), [message_of(claim)])]
        finished = start(execution.finish, late, worker=worker, stamp=new_token(), role=Role.COMPLETE)
        await waits(desk, finished)
    assert await finished == []
    assert (await desk.state(claim.id), await desk.count("job")) == (State.READY, 1)


async def test_promotion_leaves_what_is_being_cancelled(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await desk.enqueue(delay=1)
    desk.wait(1)
    async with meanwhile(desk) as (tx, start):
        assert await jobs.cancel(tx, id, reason="no", by=None) == (State.SCHEDULED, True)
        assert (await start(jobs.promote, limit=10))[0] == 0
    assert await desk.state(id) is State.CANCELLED
    assert await desk.promote() == 0


async def test_a_cancellation_waits_for_the_promotion(postgres_desk: Desk) -> None:
    desk = postgres_desk
    id = await desk.enqueue(delay=1)
    desk.wait(1)
    async with meanwhile(desk) as (tx, start):
        assert (await jobs.promote(tx, limit=10))[0] == 1
        cancelled = start(jobs.cancel, id, reason="no", by=None)
        await waits(desk, cancelled)
    assert await cancelled == (State.READY, True)
    assert await desk.state(id) is State.CANCELLED


async def test_a_claim_passes_what_another_transaction_has_locked_and_takes_the_next(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker = await desk.register()
    first, second = await desk.enqueue_many([a_job() for _ in range(2)])
    async with meanwhile(desk) as (tx, start):
        assert await jobs.cancel(tx, first, reason="no", by=None) == (State.READY, True)
        claimed = start(execution.claim, [Allotment(7, QUEUE, 1)], worker=worker, token=new_token(), role=Role.CLAIM)
        await passed_or_waits(desk, claimed)
        assert claimed.done(), "it waits for nobody"
        claims, _ = await claimed
    assert [claim.id for claim in claims] == [second]


async def test_a_burial_waits_for_the_claim_in_flight_and_finds_its_jobs(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker, id = await desk.register(), await desk.enqueue()
    async with meanwhile(desk) as (tx, start):
        claims, _ = await execution.claim(tx, [Allotment(7, QUEUE, 5)], worker=worker, token=new_token())
        assert [claim.id for claim in claims] == [id]
        buried = start(workers.declare_dead, worker, beat=0)
        await waits(desk, buried)
    assert await buried
    assert await desk.rescue() == [(id, State.READY, False)]


async def test_a_claim_waits_for_the_burial_and_takes_nothing(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker, id = await desk.register(), await desk.enqueue()
    async with meanwhile(desk) as (tx, start):
        assert await workers.declare_dead(tx, worker, beat=0)
        claimed = start(execution.claim, [Allotment(7, QUEUE, 5)], worker=worker, token=new_token(), role=Role.CLAIM)
        await waits(desk, claimed)
    assert await claimed == ([], [])
    assert await desk.state(id) is State.READY


async def test_a_burial_waits_for_the_beat_and_is_refused(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker = await desk.register()
    async with meanwhile(desk) as (tx, start):
        assert await workers.beat(tx, worker, health=None)
        buried = start(workers.declare_dead, worker, beat=0)
        await waits(desk, buried)
    assert not await buried
    assert await desk(workers.beats) == {worker: 1}


async def test_a_beat_waits_for_no_claim(postgres_desk: Desk) -> None:
    desk = postgres_desk
    worker = await desk.register()
    await desk.enqueue()
    async with meanwhile(desk) as (tx, start):
        await execution.claim(tx, [Allotment(7, QUEUE, 5)], worker=worker, token=new_token())
        assert await start(workers.beat, worker, health="{}", role=Role.HEARTBEAT)


async def test_a_completion_that_stays_open_holds_nobody_up(postgres_desk: Desk) -> None:
    """Its worker beats and logs, looks at what it holds, claims and completes the rest; the rescuer goes on."""
    desk = postgres_desk
    worker, gone = await desk.register(), await desk.register()
    await desk.enqueue_many([a_job() for _ in range(3)])
    [lost] = await desk.claim(gone, 1)
    [open_one, other] = await desk.claim(worker, 2)
    await desk.die(gone)
    await desk.enqueue()
    async with meanwhile(desk) as (tx, start):
        await execution.complete(tx, ended(open_one, Completed()), worker=worker, stamp=new_token())
        assert await start(workers.beat, worker, health=None, role=Role.HEARTBEAT)
        assert len(await start(execution.held, worker=worker)) == 2
        assert await start(execution.probe, open_one.id, atomic=True) == (True, None)
        await start(jobs.log, [{"job": open_one.id, "attempt": 1, "logged_at": desk.now, "level": 20, "message": "x"}])
        assert len(await start(execution.finish, [ended(other, Completed())], worker=worker, stamp=new_token())) == 1
        assert len((await start(execution.claim, [Allotment(7, QUEUE, 5)], worker=worker, token=new_token()))[0]) == 1
        assert [job[:3] for job in await start(execution.rescue, token=new_token(), limit=10)] == [
            (lost.id, State.READY, False)
        ]
        await desk.another().die(worker)
        rescued = await start(execution.rescue, token=new_token(), limit=10)
        assert open_one.id not in [id for id, *_ in rescued], "its row is left to the next sweep"
    assert await desk.state(open_one.id) is State.COMPLETED


async def test_batches_that_overlap_do_not_lock_each_other_out(postgres_desk: Desk) -> None:
    """Written in the order of ids, whatever order they come in."""
    desk = postgres_desk
    worker = await desk.register()
    await desk.enqueue_many([a_job() for _ in range(4)])
    one, two, three, four = [ended(claim, Completed()) for claim in await desk.claim(worker)]
    async with meanwhile(desk) as (tx, start):
        await execution.finish(tx, [two], worker=worker, stamp=new_token())
        batches = [[four, one, two, three], [three, two, four, one]]
        both = [
            start(execution.finish, batch, worker=worker, stamp=new_token(), role=Role.COMPLETE) for batch in batches
        ]
        await waits(desk, *both)
    landed = [*await both[0], *await both[1]]
    assert sorted(end.id for end in landed) == [one.id, three.id, four.id]


async def test_an_enqueue_waits_for_no_enqueue(postgres_desk: Desk) -> None:
    desk = postgres_desk
    identity = await desk.identity()
    async with meanwhile(desk) as (tx, start):
        await jobs.enqueue(tx, [a_job()], store=identity)
        await start(jobs.enqueue, [a_job()], store=identity)
    assert await desk.count("job") == 2


async def test_an_election_waits_for_the_one_in_flight(postgres_desk: Desk) -> None:
    desk = postgres_desk
    one, other = await desk.register(), await desk.register()
    async with meanwhile(desk) as (tx, start):
        assert await workers.elect(tx, "keeper", one, term=10.0) is not None
        elected = start(workers.elect, "keeper", other, term=10.0)
        await waits(desk, elected)
    assert await elected is None


# --- every pair


@dataclass(frozen=True)
class Both:
    """A command for a store, and the same for the model."""

    on_store: Operation
    on_model: Callable[[Model], Answer]
    skips: Answer = None
    """What it answers when it leaves a locked row alone; None where it waits for it."""


@dataclass
class Stage:
    """One job in some state, in a store and in a model, and all commands that may concern it."""

    twins: Twins
    id: str
    token: int
    alive: str

    def commands(self) -> dict[str, Both]:
        id, token, now, worker = self.id, self.token, self.twins.now, self.alive
        asked = [Allotment(1, QUEUES[1], 5)]
        tokens = itertools.count(new_token())
        of = {name: next(tokens) for name in ("claim", "rescue", "retry", "replay", "complete", "fail", "give back")}

        async def claim(tx: Transaction) -> Answer:
            claims, expired = await execution.claim(tx, asked, worker=worker, token=of["claim"])
            return [claim.id for claim in claims], [claim.id for claim in expired]

        def finish(name: str, outcome: Any) -> Both:
            stamp = of[name]

            async def on_store(tx: Transaction) -> Answer:
                job = self.twins.model.jobs[id]
                end = Ended(id, token, 1, decide(outcome, failures=job.failures, attempts=job.attempts), [])
                return [(one.id, one.state) for one in await execution.finish(tx, [end], worker=worker, stamp=stamp)]

            return Both(on_store, lambda model: model.finish(id, token, outcome, [], stamp, now))

        async def promote(tx: Transaction) -> Answer:
            return (await jobs.promote(tx, limit=5))[0]

        def prune(dead: bool) -> Both:
            return Both(
                lambda tx: jobs.prune(tx, queue=QUEUES[1], age=1.0, dead=dead, limit=5),
                lambda model: model.prune(QUEUES[1], now - SECOND, dead),
                skips=0,
            )

        return {
            "claim": Both(claim, lambda model: model.claim(asked, worker, of["claim"], now), skips=([], [])),
            "complete": finish("complete", Completed('"done"')),
            "fail": finish("fail", Failed(BOOM, 4)),
            "give back": finish("give back", Interrupted()),
            "start": Both(
                lambda tx: execution.start_suspect(tx, id, token=token), lambda model: model.start_suspect(id, token)
            ),
            "promote": Both(promote, lambda model: model.promote(now), skips=0),
            "rescue": Both(
                lambda tx: rescue(tx, of["rescue"]),
                lambda model: model.rescue(of["rescue"], 5, now),
                skips=[],
            ),
            "cancel": Both(
                lambda tx: jobs.cancel(tx, id, reason="no", by=None), lambda model: model.cancel(id, "no", now)
            ),
            "retry": Both(
                lambda tx: jobs.retry(tx, id, token=of["retry"]), lambda model: model.retry(id, of["retry"], now)
            ),
            "delete": Both(lambda tx: jobs.delete(tx, id, purge=False), lambda model: model.delete(id, False, now)),
            "purge": Both(lambda tx: jobs.delete(tx, id, purge=True), lambda model: model.delete(id, True, now)),
            "replay": Both(
                lambda tx: jobs.replay(tx, **EVERYTHING, token=of["replay"], limit=5),
                lambda model: model.replay(of["replay"], 5, now),
                skips=[],
            ),
            "prune": prune(dead=False),
            "prune dead": prune(dead=True),
        }


NAMES = [
    "claim", "complete", "fail", "give back", "start", "promote", "rescue", "cancel", "retry", "delete", "purge",
    "replay", "prune", "prune dead",
]  # fmt: skip


def set_the_stage(twins: Twins, situation: str) -> Stage:
    alive, doomed = twins.register(), twins.register()
    token = new_token()  # of nobody, where it was never claimed
    if situation == "scheduled":
        id = twins.send(1, 0, 3, None, 2)
    else:
        id = twins.send(1, 0, 0, 5 if situation == "expired" else None, 2)
    if situation not in ("scheduled", "ready", "expired"):
        [claim] = twins.claim(doomed if "lost" in situation else alive, [1, 0, 0], 0, ["held"])
        token = claim.token
        if situation == "lost suspect":
            twins.model.start_suspect(id, token)
            twins.does(execution.start_suspect, id, token=token)
        if situation == "asked to stop":
            twins.manage("cancel", id, alive, 0)
        ends = {"completed": 0, "dead": 4}
        if situation in ends:
            twins.manage("wait", id, alive, 1)
            twins.end(claim, OUTCOMES[ends[situation]], [])
    if situation == "cancelled":
        twins.manage("cancel", id, alive, 0)
        twins.end(claim, Interrupted(), [])
    twins.die(doomed)
    twins.now += 10 * SECOND
    return Stage(twins, id, token, alive)


SITUATIONS = [
    "scheduled", "ready", "expired", "running", "lost", "lost suspect", "asked to stop", "completed", "cancelled",
    "dead",
]  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_whatever_meets_on_one_row_ends_as_if_one_had_come_after_the_other(
    empty_postgres: str, situation: str
) -> None:
    """The first is committed only when the second has passed or waits; a second that skips locked rows may pass."""
    store = open_store(empty_postgres)
    blocking = store.blocking(Role.CLIENT)
    async with Desk(store, "asyncio") as desk:
        other = desk.another()
        for first, second in itertools.product(NAMES, repeat=2):
            stage = set_the_stage(Twins(blocking, "postgres"), situation)
            commands = stage.commands()
            if not changes(stage.twins.model, commands[first]):
                continue  # it holds nothing that another could meet
            found = await meet(desk, other, stage, commands[first], commands[second])
            allowed = serial_orders(stage.twins.model, commands[first], commands[second])
            answers = [answers for answers, _ in allowed]
            assert found in answers, (first, second, found, answers)
            rows = stage.twins.rows()
            assert rows in [model.rows() for answers, model in allowed if answers == found], (first, second)
    blocking.close()


async def meet(desk: Desk, other: Desk, stage: Stage, first: Both, second: Both) -> tuple[Answer, Answer]:
    desk.now = other.now = stage.twins.now
    async with desk.session() as (tx, _):
        one = await first.on_store(tx)
        task = asyncio.create_task(other(lambda tx: second.on_store(tx)))
        await passed_or_waits(desk, task)
    return one, await task


def changes(model: Model, command: Both) -> bool:
    after = copy.deepcopy(model)
    command.on_model(after)
    return after != model


def serial_orders(model: Model, first: Both, second: Both) -> list[tuple[tuple[Answer, Answer], Model]]:
    one_then_two, two_then_one, one_alone = (copy.deepcopy(model) for _ in range(3))
    one = first.on_model(one_then_two), second.on_model(one_then_two)
    late, early = second.on_model(two_then_one), first.on_model(two_then_one)
    orders = [(one, one_then_two), ((early, late), two_then_one)]
    if second.skips is not None:
        orders.append(((first.on_model(one_alone), second.skips), one_alone))
    return orders


async def test_cancel_complete_retry_and_delete_at_once(postgres_desk: Desk) -> None:
    """All four wait for the row, and are let go together: whatever order the server chose, some order explains it."""
    desk = postgres_desk
    for _ in range(5):
        twins = Twins(desk.blocking(Role.CLIENT), "postgres")
        stage = set_the_stage(twins, "running")
        desk.now = twins.now
        commands = stage.commands()
        four = [commands[name] for name in ("cancel", "complete", "retry", "delete")]
        async with desk.session() as (_, session):
            await session.execute("SELECT FROM remit.job FOR UPDATE")
            tasks = [asyncio.create_task(at(desk, command)) for command in four]
            await waits(desk, *tasks)
        found = [await task for task in tasks]
        explanations = []
        for order in itertools.permutations(range(4)):
            model = copy.deepcopy(twins.model)
            answers = {place: four[place].on_model(model) for place in order}
            explanations.append(([answers[place] for place in range(4)], model.rows()))
        assert (found, twins.rows()) in explanations


def at(desk: Desk, command: Both) -> Coroutine[Any, Any, Answer]:
    return desk.another()(lambda tx: command.on_store(tx))


async def test_an_id_that_two_send_at_once_is_sent_once(postgres_desk: Desk) -> None:
    desk = postgres_desk
    identity, id = await desk.identity(), new_id()
    async with meanwhile(desk) as (tx, start):
        await jobs.enqueue(tx, [a_job(id=id, label="first")], store=identity)
        again = start(jobs.enqueue, [a_job(id=id, label="second")], store=identity)
        await waits(desk, again)
    await again
    assert (await desk.get(id)).label == "first"
