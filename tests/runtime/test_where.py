"""Which events a condition lets through while publishers and subscribers are of different releases."""

from __future__ import annotations

from typing import Any

from remit import Domain, Event, Remit, Run


class Counter(Domain[None], name="counter"):
    """Sells."""


class Club(Domain[None], name="club"):
    """Hears of it."""


class OldCounter(Domain[None], name="counter"):
    """The release before, which does not know of tiers."""


counter, club, old_counter = Counter(), Club(), OldCounter()


class Sold(Event[Counter], name="counter.sold"):
    number: int
    tier: str = "free"


class OldSold(Event[OldCounter], name="counter.sold"):
    number: int


heard: list[tuple[str, int]] = []


@club.on(Sold, name="compared", where={"tier": ["free", "trial"]}, inline="for a test")
async def compared(event: Sold, run: Run[Club]) -> None:
    heard.append(("compared", event.number))


@club.on(Sold, name="asked", where=lambda event: event.tier in {"free", "trial"}, inline="for a test")
async def asked(event: Sold, run: Run[Club]) -> None:
    heard.append(("asked", event.number))


@club.on(Sold, name="paying", where={"tier": "gold"}, inline="for a test")
async def paying(event: Sold, run: Run[Club]) -> None:
    heard.append(("paying", event.number))


async def test_a_field_that_an_older_publisher_leaves_out_is_compared_by_its_default(store_url: str) -> None:
    heard.clear()
    app: Any = Remit(store_url, domains=[counter, club])
    old: Any = Remit(store_url, domains=[old_counter])
    with app.bound(), old.bound():
        await app.migrate()
        async with app, old:
            await old_counter.publish(OldSold(number=1))
            await counter.publish_many([Sold(number=2, tier="gold"), Sold(number=3, tier="trial")])
            await app.drain()
            conditions = [each.conditions for each in await app.subscriptions.list()]
    assert conditions == [{}, {1: {"tier": ['"free"', '"trial"']}}, {1: {"tier": ['"gold"']}}]
    assert sorted(heard) == [("asked", 1), ("asked", 3), ("compared", 1), ("compared", 3), ("paying", 2)]
