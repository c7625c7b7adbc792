"""The full table: every command in every state makes the move that `MOVES` allows, or changes nothing at all."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import MOVES, Command, State
from tests.conformance.desk import LINE, OUTCOMES, QUEUE, Desk, a_job, ended

Act = Callable[[Desk, str, str], Awaitable[object]]
"""A command on the job of an id, by a worker."""


async def enqueue(desk: Desk, id: str, worker: str) -> None:
    await desk.enqueue_many([a_job(id=id, priority=9, label="once more")])


async def promote(desk: Desk, id: str, worker: str) -> None:
    await desk.promote()


async def claim(desk: Desk, id: str, worker: str) -> None:
    await desk.claim(worker)


async def expire(desk: Desk, id: str, worker: str) -> None:
    await desk.execute("UPDATE {job} SET expires_at = run_at")
    await desk(execution.claim, [Allotment(LINE, QUEUE, 9)], worker=worker, token=new_token())


async def rescue(desk: Desk, id: str, worker: str) -> None:
    await desk.execute("DELETE FROM {worker}")
    await desk.rescue()


async def cancel(desk: Desk, id: str, worker: str) -> None:
    await desk(jobs.cancel, id, reason="not wanted", by="ops")


async def cancel_many(desk: Desk, id: str, worker: str) -> None:
    await desk(jobs.cancel_many, [id], reason="not wanted", by="ops")


async def retry(desk: Desk, id: str, worker: str) -> None:
    await desk(jobs.retry, id, token=new_token())


async def delete(desk: Desk, id: str, worker: str) -> None:
    await desk(jobs.delete, id, purge=False)


async def replay(desk: Desk, id: str, worker: str) -> None:
    everything: dict[str, Any] = dict.fromkeys(["domain", "queue", "names", "reason", "ended_before", "after"])
    await desk(jobs.replay, **everything, token=new_token(), limit=9)


async def start_suspect(desk: Desk, id: str, worker: str) -> None:
    await desk(execution.start_suspect, id, token=new_token())


async def bystanders(desk: Desk, id: str, worker: str) -> None:
    """What looks at jobs, or keeps something beside them."""
    await desk(execution.heads, [(LINE, QUEUE)])
    await desk(jobs.lines)
    await desk(execution.probe, id, atomic=True)
    await desk(execution.held, worker=worker)
    await desk(jobs.log, [{"job": id, "attempt": 1, "logged_at": desk.now, "level": 20, "message": "x"}])
    await desk(jobs.pause, QUEUE, by=None)
    await desk(jobs.waiting)
    await desk(jobs.prune, queue=QUEUE, age=86_400_000.0, dead=False, limit=9)


@dataclass(frozen=True)
class Case:
    """A way to give a command, and the states to which it applies among those that the command allows."""

    act: Act
    command: Command | None
    only: frozenset[State] = frozenset(State)


CASES = {
    "enqueue": Case(enqueue, Command.ENQUEUE),
    "promote": Case(promote, Command.PROMOTE),
    "claim": Case(claim, Command.CLAIM),
    "expire": Case(expire, Command.EXPIRE),
    "rescue": Case(rescue, Command.RESCUE),
    "cancel": Case(cancel, Command.CANCEL),
    "cancel many": Case(cancel_many, Command.CANCEL, frozenset({State.SCHEDULED, State.READY, State.RUNNING})),
    "retry": Case(retry, Command.RETRY),
    "replay": Case(replay, Command.RETRY, frozenset({State.DEAD})),
    "delete": Case(delete, Command.DELETE),
    "start a suspect": Case(start_suspect, None),
    "look": Case(bystanders, None),
}


async def each_state(desk: Desk, worker: str) -> AsyncIterator[tuple[State, str, dict[str, Any]]]:
    """A job in one state after the other, alone in the store; what was scheduled is due, what runs is the worker's."""
    for state in State:
        await desk.execute("DELETE FROM {job}")
        await desk.execute("DELETE FROM {queue}")
        id = await desk.in_state(state)
        await desk.execute("UPDATE {job} SET worker = ? WHERE state = 'running'", [worker])
        desk.wait(3600)
        row = await desk.row(id)
        assert row is not None
        yield state, id, row


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_command_moves_the_job_as_the_table_says_or_changes_nothing(desk: Desk, case: Case) -> None:
    worker = await desk.register()
    moves = MOVES.get(case.command, {}) if case.command else {}
    async for state, id, before in each_state(desk, worker):
        await case.act(desk, id, worker)
        after = await desk.row(id)
        assert after is not None
        if state in moves and state in case.only:
            assert State(after["state"]) in moves[state], state
            assert (after["finished_at"] is not None) == State(after["state"]).is_final, state
            assert (after["worker"] is not None) == (after["state"] == State.RUNNING), state
            assert {name for name in NEVER if before[name] != after[name]} == set(), state
        else:
            if case.act is expire:
                after["expires_at"] = before["expires_at"]
            assert after == before, state


NEVER = ("id", "line", "lane", "created_at", "domain", "queue", "name", "version", "encoding", "payload", "attempts")
"""What no command changes."""


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_an_outcome_moves_a_running_job_alone(desk: Desk, outcome: str) -> None:
    worker = await desk.register()
    async for state, id, before in each_state(desk, worker):
        token = before["token"] if state is State.RUNNING else new_token()
        run = Claim(id, token, LINE, 0, 3, False, "json", "{}", None, id, "billing.sync-invoice")
        landed = await desk(execution.finish, [ended(run, OUTCOMES[outcome])], worker=worker, stamp=new_token())
        after = await desk.row(id)
        assert after is not None
        if state is State.RUNNING:
            assert [State(after["state"])] == [one.state for one in landed]
            assert State(after["state"]) in MOVES[Command.FINISH][State.RUNNING]
        else:
            assert (landed, after) == ([], before), state


async def test_a_purge_removes_what_may_be_deleted(desk: Desk) -> None:
    async for state, id, before in each_state(desk, await desk.register()):
        await desk(jobs.delete, id, purge=True)
        assert await desk.row(id) == (None if state in MOVES[Command.DELETE] else before), state


def test_every_command_is_in_the_table() -> None:
    assert {case.command for case in CASES.values()} | {Command.FINISH} >= set(Command)
