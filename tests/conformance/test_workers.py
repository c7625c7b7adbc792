"""Workers are registered, show life, and are buried only while they do not."""

import json
from contextlib import suppress

from remit.db.store import Capability
from remit.errors import StoreError
from remit.jobs.ids import new_id
from remit.jobs.model import moment
from remit.runtime import operations as workers
from tests.conformance.desk import SECOND, Desk


async def test_a_registered_worker_is_listed_with_what_it_holds(desk: Desk) -> None:
    id = new_id()
    await desk(workers.register, id, host="ada", pid=4711, about=json.dumps({"queues": {"a.b": 10}}))
    await desk.running(id)
    [one] = await desk(workers.workers)
    assert (one.id, one.host, one.pid, one.about, one.health, one.running) == (
        id,
        "ada",
        4711,
        {"queues": {"a.b": 10}},
        {},
        1,
    )
    assert one.started_at == one.seen_at == moment(desk.now)


async def test_the_oldest_worker_comes_first(desk: Desk) -> None:
    ids = []
    for _ in range(3):
        ids.append(await desk.register())
        desk.wait(1)
    assert [one.id for one in await desk(workers.workers)] == ids


async def test_a_registration_that_is_repeated_because_its_commit_was_not_known_is_one(desk: Desk) -> None:
    id = new_id()
    for _ in range(2):
        await desk(workers.register, id, host="here", pid=1, about="{}")
    assert await desk(workers.beats) == {id: 0}


async def test_a_beat_moves_the_counter_and_tells_health(desk: Desk) -> None:
    id = await desk.register()
    desk.wait(5)
    assert await desk(workers.beat, id, health='{"ok": true}')
    assert await desk(workers.beat, id, health=None)
    assert await desk(workers.beats) == {id: 2}
    [one] = await desk(workers.workers)
    assert (one.health, one.seen_at, one.started_at) == ({"ok": True}, moment(desk.now), moment(desk.now - 5 * SECOND))


async def test_a_beat_without_a_registration_is_told_so_and_registers_nobody(desk: Desk) -> None:
    id = await desk.register()
    await desk.die(id)
    assert not await desk(workers.beat, id, health=None)
    assert await desk(workers.beats) == {}


async def test_a_silent_worker_is_buried(desk: Desk) -> None:
    id = await desk.register()
    assert await desk(workers.declare_dead, id, beat=0)
    assert await desk(workers.beats) == {}
    assert not await desk(workers.declare_dead, id, beat=0)


async def test_a_worker_that_has_beaten_since_it_was_looked_at_is_not_buried(desk: Desk) -> None:
    """Where all workers share one machine, a lock on a file proves their life, and the counter in the row is a hint."""
    id = await desk.register()
    await desk(workers.beat, id, health=None)
    assert await desk(workers.declare_dead, id, beat=0) != desk.can(Capability.SEVERAL_MACHINES)
    await desk(workers.declare_dead, id, beat=1)
    assert await desk(workers.beats) == {}


async def test_a_worker_that_deregisters_is_gone(desk: Desk) -> None:
    id, other = await desk.register(), await desk.register()
    await desk(workers.deregister, id)
    await desk(workers.deregister, id)
    assert set(await desk(workers.beats)) == {other}


async def test_an_id_is_never_taken_from_another(desk: Desk) -> None:
    id = new_id()
    await desk(workers.register, id, host="one", pid=1, about="{}")
    with suppress(StoreError):
        await desk(workers.register, id, host="two", pid=2, about="{}")
    [one] = await desk(workers.workers)
    assert (one.host, one.pid) == ("one", 1)
