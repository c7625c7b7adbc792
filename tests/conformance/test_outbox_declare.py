"""Subscriptions are rows: entered by workers, changed by new ones, left alone by old ones, and by a person's order."""

from __future__ import annotations

from typing import Any

from remit.jobs import operations as jobs
from remit.jobs.states import GaveUp
from remit.outbox import operations as outbox
from remit.outbox.model import Differences
from tests.conformance.desk import BOOM, Desk, a_subscription, an_event, text


async def test_what_is_missing_is_entered_as_it_is_declared(desk: Desk) -> None:
    row = a_subscription(
        events=text(["billing.a", "billing.b"]), where={"kind": ["x"]}, ordered_by="kind", on_dead="pass", attempts=9,
        stale_after=5.0, queue="catalog.slow", aliases=["catalog.open"],
    )  # fmt: skip
    assert await desk.declare(row) == [("catalog.unlock", "entered")]
    found = await desk.subscription()
    assert (found.id, found.name, found.former, found.domain) == (
        row["id"],
        "catalog.unlock",
        ("catalog.open",),
        "catalog",
    )
    assert (found.events, found.conditions, found.queue) == (
        ("billing.a", "billing.b"),
        {1: {"kind": ['"x"']}},
        "catalog.slow",
    )
    assert (found.ordered_by, found.on_dead, found.attempts, found.stale_after) == ("kind", "pass", 9, 5.0)
    assert (found.revision, found.retired_at, found.filling_since, found.under_way) == (1, None, None, {})


async def test_what_is_known_is_left_alone(desk: Desk) -> None:
    first = await desk.subscribe()
    assert await desk.declare(a_subscription()) == []
    assert await desk.declare() == []
    assert (await desk.subscription()).id == first
    assert (await desk.subscription()).revision == 1


async def test_a_new_declaration_changes_the_row_and_keeps_its_id(desk: Desk) -> None:
    first = await desk.subscribe()
    assert await desk.declare(a_subscription(attempts=7, where={"kind": ["x"]})) == [("catalog.unlock", "changed")]
    found = await desk.subscription()
    assert (found.id, found.attempts, found.conditions, found.revision) == (first, 7, {1: {"kind": ['"x"']}}, 2)


async def test_an_old_worker_changes_nothing(desk: Desk) -> None:
    old, middle, new = a_subscription(attempts=1), a_subscription(attempts=2), a_subscription(attempts=3)
    for row in (old, middle, new):
        await desk.declare(row)
    for row in (old, middle, old):
        assert await desk.declare(row) == []
    assert ((await desk.subscription()).attempts, (await desk.subscription()).revision) == (3, 3)


async def test_a_person_may_go_back_and_then_the_newer_one_is_the_old(desk: Desk) -> None:
    old, new = a_subscription(attempts=1), a_subscription(attempts=2)
    await desk.declare(old)
    await desk.declare(new)
    assert await desk.declare(old, force=True) == [("catalog.unlock", "changed")]
    assert (await desk.subscription()).attempts == 1
    assert await desk.declare(new) == []
    assert await desk.declare(old) == []
    assert (await desk.subscription()).attempts == 1
    assert await desk.declare(new, force=True) == [("catalog.unlock", "changed")]
    assert await desk.declare(old) == []


async def test_a_rename_keeps_the_id_and_what_is_under_way(desk: Desk) -> None:
    first = await desk.subscribe("catalog.open")
    id = await desk.publish()
    await desk.dispatch()
    assert await desk.declare(a_subscription(aliases=["catalog.open"])) == [("catalog.unlock", "changed")]
    [found] = await desk.subscriptions()
    assert (found.id, found.name, found.former) == (first, "catalog.unlock", ("catalog.open",))
    assert await desk.deliveries(id) == {"catalog.unlock": "ready"}
    await desk.fill(first)
    assert await desk.count("job") == 1


async def test_an_old_worker_does_not_bring_the_old_name_back(desk: Desk) -> None:
    old = a_subscription("catalog.open")
    await desk.declare(old)
    await desk.declare(a_subscription(aliases=["catalog.open"]))
    for row in (old, a_subscription("catalog.open", attempts=8)):
        assert await desk.declare(row) == []
    assert [each.name for each in await desk.subscriptions()] == ["catalog.unlock"]


async def test_an_old_worker_of_a_name_that_this_store_never_had_changes_nothing(desk: Desk) -> None:
    await desk.declare(a_subscription(aliases=["catalog.open"]))
    assert await desk.declare(a_subscription("catalog.open")) == []
    assert [each.name for each in await desk.subscriptions()] == ["catalog.unlock"]
    assert await desk.declare(a_subscription(aliases=["catalog.open"])) == []


async def test_a_person_may_take_a_rename_back(desk: Desk) -> None:
    await desk.declare(a_subscription("catalog.open"))
    await desk.declare(a_subscription(aliases=["catalog.open"]))
    assert await desk.declare(a_subscription("catalog.open"), force=True) == [("catalog.open", "changed")]
    assert await desk.declare(a_subscription(aliases=["catalog.open"])) == []
    assert [each.name for each in await desk.subscriptions()] == ["catalog.open"]


async def test_renamed_twice_it_is_still_the_same(desk: Desk) -> None:
    first = await desk.subscribe("catalog.a")
    await desk.declare(a_subscription("catalog.b", aliases=["catalog.a"]))
    await desk.declare(a_subscription("catalog.c", aliases=["catalog.b"]))
    for old in ("catalog.a", "catalog.b"):
        assert await desk.declare(a_subscription(old, attempts=8)) == []
    [found] = await desk.subscriptions()
    assert (found.id, found.name, found.former) == (first, "catalog.c", ("catalog.a", "catalog.b"))


async def test_a_name_that_was_left_behind_can_be_given_to_another(desk: Desk) -> None:
    first = await desk.subscribe("catalog.open")
    await desk.declare(a_subscription(aliases=["catalog.open"]))
    unlock, second = a_subscription(), a_subscription("catalog.open")
    assert await desk.declare(unlock, second, force=True) == [
        ("catalog.open", "entered"),
        ("catalog.unlock", "changed"),
    ]
    for force in (True, False):
        assert await desk.declare(unlock, second, force=force) == []
    assert {each.name: each.id for each in await desk.subscriptions()} == {
        "catalog.unlock": first,
        "catalog.open": second["id"],
    }
    id = await desk.publish()
    await desk.dispatch()
    assert await desk.deliveries(id) == {"catalog.unlock": "ready", "catalog.open": "ready"}


async def test_a_worker_too_may_give_a_name_that_was_left_behind_to_another(desk: Desk) -> None:
    first = await desk.subscribe("catalog.open")
    await desk.declare(a_subscription(aliases=["catalog.open"]))
    await desk.declare(a_subscription(aliases=["catalog.open"]), a_subscription("catalog.open"))
    await desk.declare(a_subscription(attempts=8), a_subscription("catalog.open", attempts=8))
    found = {each.name: each for each in await desk.subscriptions()}
    assert found["catalog.unlock"].id == first != found["catalog.open"].id
    assert [found[name].attempts for name in ("catalog.unlock", "catalog.open")] == [8, 8]


async def test_many_are_declared_at_once(desk: Desk) -> None:
    rows = [a_subscription(f"catalog.n{place}") for place in range(30)]
    assert len(await desk.declare(*rows)) == 30
    assert await desk.declare(*rows) == []
    assert await desk.declare(*rows[:-1], a_subscription("catalog.n29", attempts=8), a_subscription()) == [
        ("catalog.n29", "changed"),
        ("catalog.unlock", "entered"),
    ]


async def test_retired_it_stays_retired_until_a_person_says_otherwise(desk: Desk) -> None:
    first = await desk.subscribe()
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    for row in (a_subscription(), a_subscription(attempts=8)):
        assert await desk.declare(row) == []
        assert (await desk.subscription()).retired_at is not None
    assert await desk.declare(a_subscription(), force=True) == [("catalog.unlock", "changed")]
    found = await desk.subscription()
    assert (found.id, found.retired_at) == (first, None)
    assert await desk.declare(a_subscription(attempts=8)) == [("catalog.unlock", "changed")]


async def test_subscriptions_of_code_that_is_gone_are_told(desk: Desk) -> None:
    for name in ("catalog.unlock", "catalog.gone", "catalog.retired", "mail.thank"):
        await desk.subscribe(name)
    await desk(outbox.retire, "catalog.retired", atomic=True)
    found = {each.name: each for each in await desk.subscriptions({"catalog.unlock"}, {"catalog"})}
    assert {name: (each.declared, each.vanished) for name, each in found.items()} == {
        "catalog.unlock": (True, False),
        "catalog.gone": (False, True),
        "catalog.retired": (False, False),
        "mail.thank": (None, False),
    }


# --- where the store goes by something else than an application


async def differences(desk: Desk, *rows: dict[str, Any]) -> Differences:
    return await desk(outbox.differences, rows)


async def test_a_name_and_its_alias_that_both_live_are_twins_until_one_is_retired(desk: Desk) -> None:
    await desk.subscribe("catalog.open")
    await desk.subscribe("catalog.unlock")  # renamed, and the alias was forgotten
    row = a_subscription(aliases=["catalog.open", "catalog.never"])
    assert await desk.declare(row) == [("catalog.unlock", "changed")], "it keeps its row, and the old one stays"
    assert await differences(desk, row) == Differences(duplicates=(("catalog.unlock", "catalog.open"),))
    assert await differences(desk, row, a_subscription("catalog.open")) == Differences(), "it is another's on purpose"
    await desk(outbox.retire, "catalog.open", atomic=True)
    assert await differences(desk, row) == Differences()


async def test_a_declaration_that_the_store_left_behind_is_told_and_a_new_one_is_not(desk: Desk) -> None:
    old, new = a_subscription(attempts=1), a_subscription(attempts=2)
    assert await differences(desk, old) == await differences(desk) == Differences()
    await desk.declare(old)
    assert await differences(desk, old) == await differences(desk, new) == Differences(), "the next worker enters it"
    await desk.declare(new)
    assert await differences(desk, new) == Differences()
    assert await differences(desk, old) == Differences(outdated=(("catalog.unlock", "catalog.unlock", 2),))
    await desk.declare(old, force=True)
    assert await differences(desk, old) == Differences()
    assert await differences(desk, new) == Differences(outdated=(("catalog.unlock", "catalog.unlock", 3),))
    await desk(outbox.retire, "catalog.unlock", atomic=True)
    assert await differences(desk, new) == Differences(), "that it is retired says more"


async def test_a_rename_that_was_rolled_back_is_told_with_the_name_of_the_row(desk: Desk) -> None:
    old, new = a_subscription("catalog.open"), a_subscription(aliases=["catalog.open"])
    await desk.declare(old)
    assert await differences(desk, new) == Differences(), "the next worker renames it"
    await desk.declare(new)
    assert await differences(desk, new) == Differences()
    assert await differences(desk, old) == Differences(outdated=(("catalog.open", "catalog.unlock", 2),))
    assert await differences(desk, old, new) == Differences(), "with both it is another subscription"


# --- what is under way


async def under_way(desk: Desk) -> dict[str, tuple[int, float | None, int]]:
    return {state: (one.count, one.oldest, one.stale) for state, one in (await desk.subscription()).under_way.items()}


async def test_deliveries_are_counted_by_state_with_the_oldest_and_the_stale(desk: Desk) -> None:
    await desk.subscribe(stale_after=60.0)
    assert await under_way(desk) == {}
    await desk.publish_many(_events(3))
    await desk.dispatch()
    desk.wait(50)
    await desk.publish()
    await desk.dispatch()
    desk.wait(20)
    assert await under_way(desk) == {"ready": (4, 70.0, 3)}
    first, second, *_ = await desk.under_way()
    await desk.finish(first, GaveUp("no", BOOM))
    await desk.finish(second, GaveUp("no", BOOM))
    await desk(jobs.delete, second.id, purge=False)
    assert await under_way(desk) == {"running": (2, 70.0, 1), "dead": (1, 70.0, 1)}
    assert (await desk.subscription()).stale == 2


async def test_turns_that_wait_are_counted_too(desk: Desk) -> None:
    await desk.subscribe(ordered_by="invoice_id", stale_after=60.0)
    await desk.publish_many(_events(3, lane=1))
    desk.wait(61)
    await desk.dispatch()
    await desk.advance()
    assert await under_way(desk) == {"ready": (1, 0.0, 0), "waiting": (2, 61.0, 2)}


async def test_what_has_ended_well_is_not_under_way(desk: Desk) -> None:
    await desk.subscribe()
    await desk.publish()
    await desk.dispatch()
    await desk.deliver()
    assert await under_way(desk) == {}


def _events(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [an_event(**changes) for _ in range(count)]
