"""A run completes in a transaction: its outcome and its effects are one commit, or none."""

from contextlib import suppress

import pytest

from remit.errors import LeaseLost
from remit.execution import operations as execution
from remit.execution.model import Claim
from remit.jobs.ids import new_token
from remit.jobs.states import Completed, State
from tests.conformance.desk import Desk, ended, message_of


async def lose(desk: Desk, claim: Claim, worker: str) -> None:
    await desk.die(worker)
    await desk.rescue()


async def test_outcome_messages_and_effects_are_one_commit(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    async with desk.session() as (tx, session):
        await session.execute(desk.spell("INSERT INTO {queue} (name) VALUES ('effect')"))
        await execution.complete(
            tx, ended(claim, Completed('"ok"'), [message_of(claim)]), worker=worker, stamp=new_token()
        )
    assert (await desk.get(claim.id)).result == "ok"
    assert (await desk.count("queue"), await desk.count("job")) == (1, 2)


async def test_a_rollback_leaves_the_job_with_its_holder(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    before = await desk.row(claim.id)
    with suppress(ZeroDivisionError):
        async with desk.session() as (tx, _):
            await execution.complete(
                tx, ended(claim, Completed(), [message_of(claim)]), worker=worker, stamp=new_token()
            )
            raise ZeroDivisionError
    assert await desk.row(claim.id) == before
    assert await desk.count("job") == 1
    assert await desk(execution.probe, claim.id, atomic=True) == (True, claim.token)


async def test_a_lost_lease_is_refused_and_the_effects_with_it(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await lose(desk, claim, worker)

    async def zombie() -> None:
        async with desk.session() as (tx, session):
            await session.execute(desk.spell("INSERT INTO {queue} (name) VALUES ('effect')"))
            await execution.complete(tx, ended(claim, Completed()), worker=worker, stamp=new_token())

    with pytest.raises(LeaseLost):
        await zombie()
    assert await desk.count("queue") == 0


async def test_a_refusal_that_is_swallowed_still_commits_nothing(desk: Desk) -> None:
    """The transaction is lost in the server, so no handler can commit its effect by catching the error."""
    worker = await desk.register()
    claim = await desk.running(worker)
    await lose(desk, claim, worker)
    with suppress(Exception):
        async with desk.session() as (tx, session):
            await session.execute(desk.spell("INSERT INTO {queue} (name) VALUES ('effect')"))
            with suppress(Exception):
                await execution.complete(tx, ended(claim, Completed()), worker=worker, stamp=new_token())
    assert await desk.count("queue") == 0


async def test_a_short_transaction_of_its_own_is_refused_too(desk: Desk) -> None:
    worker = await desk.register()
    claim = await desk.running(worker)
    await lose(desk, claim, worker)
    before = await desk.row(claim.id)
    with pytest.raises(LeaseLost):
        await desk(execution.complete, ended(claim, Completed()), worker=worker, stamp=new_token(), atomic=True)
    assert await desk.row(claim.id) == before


async def test_a_completion_that_is_repeated_because_its_commit_was_not_known_has_landed(desk: Desk) -> None:
    """A short transaction is tried again when the connection dies in its COMMIT: the stamp tells that it is ours."""
    worker = await desk.register()
    claim = await desk.running(worker)
    end, stamp = ended(claim, Completed(), [message_of(claim)]), new_token()
    for _ in range(2):
        await desk(execution.complete, end, worker=worker, stamp=stamp, atomic=True)
    assert await desk.state(claim.id) is State.COMPLETED
    assert await desk.count("job") == 2


async def test_the_refusal_of_a_job_that_is_gone(desk: Desk) -> None:
    claim = await desk.running()
    await desk.execute("DELETE FROM {job}")
    with pytest.raises(LeaseLost):
        await desk(execution.complete, ended(claim, Completed()), worker=claim.id, stamp=new_token(), atomic=True)


async def test_a_probe_finds_the_token_of_who_holds_the_job(desk: Desk) -> None:
    claim = await desk.running()
    assert await desk(execution.probe, claim.id, atomic=True) == (True, claim.token)


async def test_a_probe_finds_the_stamp_of_what_landed(desk: Desk) -> None:
    worker, stamp = await desk.register(), new_token()
    claim = await desk.running(worker)
    await desk(execution.complete, ended(claim, Completed()), worker=worker, stamp=stamp, atomic=True)
    assert await desk(execution.probe, claim.id, atomic=True) == (True, stamp)


async def test_a_probe_finds_nothing_where_the_job_is_gone(desk: Desk) -> None:
    claim = await desk.running()
    await desk.execute("DELETE FROM {job}")
    assert await desk(execution.probe, claim.id, atomic=True) == (False, None)
