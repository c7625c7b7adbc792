"""One worker leads, for a term that the database issued; renewing and resigning name the exact term."""

from remit.jobs.ids import new_id
from remit.jobs.model import moment
from remit.runtime import operations as workers
from tests.conformance.desk import SECOND, Desk

ROLE = "keeper"


async def elect(desk: Desk, worker: str, term: float = 10.0, role: str = ROLE) -> int | None:
    return await desk(workers.elect, role, worker, term=term)


async def test_the_first_who_asks_leads(desk: Desk) -> None:
    one, other = await desk.register(), await desk.register()
    assert await elect(desk, one, 2.5) == desk.now
    assert await elect(desk, other) is None
    [leader] = await desk(workers.leaders)
    assert (leader.role, leader.holder) == (ROLE, one)
    assert (leader.elected_at, leader.expires_at) == (moment(desk.now), moment(desk.now + 2_500_000))


async def test_a_leader_cannot_be_elected_twice(desk: Desk) -> None:
    worker = await desk.register()
    await elect(desk, worker)
    desk.wait(1)
    assert await elect(desk, worker) is None


async def test_roles_are_led_apart(desk: Desk) -> None:
    one, other = await desk.register(), await desk.register()
    assert await elect(desk, one) is not None
    assert await elect(desk, other, role="relay") is not None
    assert [(leader.role, leader.holder) for leader in await desk(workers.leaders)] == [(ROLE, one), ("relay", other)]


async def test_a_term_that_has_run_out_goes_to_another(desk: Desk) -> None:
    one, other = await desk.register(), await desk.register()
    first = await elect(desk, one)
    desk.wait(9.999999)
    assert await elect(desk, other) is None
    desk.wait(0.000001)
    second = await elect(desk, other)
    assert first is not None
    assert second == first + 10 * SECOND
    [leader] = await desk(workers.leaders)
    assert leader.holder == other


async def test_a_worker_that_is_not_registered_does_not_lead(desk: Desk) -> None:
    assert await elect(desk, new_id()) is None
    assert await desk(workers.leaders) == []


async def test_a_term_is_renewed_while_it_lasts(desk: Desk) -> None:
    worker = await desk.register()
    elected = await elect(desk, worker)
    desk.wait(9)
    assert await desk(workers.renew, ROLE, worker, elected=elected, term=10.0)
    [leader] = await desk(workers.leaders)
    assert (leader.elected_at, leader.expires_at) == (
        moment(elected),
        moment(desk.now + 10 * SECOND),
    )
    desk.wait(10)
    assert not await desk(workers.renew, ROLE, worker, elected=elected, term=10.0)


async def test_only_the_exact_term_is_renewed(desk: Desk) -> None:
    one, other = await desk.register(), await desk.register()
    elected = await elect(desk, one)
    assert elected is not None
    for worker, term, role in ((other, elected, ROLE), (one, elected - 1, ROLE), (one, elected, "relay")):
        assert not await desk(workers.renew, role, worker, elected=term, term=99.0)
    [leader] = await desk(workers.leaders)
    assert leader.expires_at == moment(desk.now + 10 * SECOND)


async def test_the_same_holder_of_a_later_term_is_not_confused_with_the_earlier(desk: Desk) -> None:
    worker = await desk.register()
    first = await elect(desk, worker)
    desk.wait(20)
    second = await elect(desk, worker)
    assert not await desk(workers.renew, ROLE, worker, elected=first, term=10.0)
    await desk(workers.resign, ROLE, worker, elected=first)
    assert await desk(workers.renew, ROLE, worker, elected=second, term=10.0)


async def test_who_resigns_leaves_the_place_free(desk: Desk) -> None:
    one, other = await desk.register(), await desk.register()
    elected = await elect(desk, one)
    await desk(workers.resign, ROLE, other, elected=elected)
    assert await elect(desk, other) is None
    await desk(workers.resign, ROLE, one, elected=elected)
    assert await elect(desk, other) is not None
