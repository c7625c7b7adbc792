"""What a worker says where the store goes by something else than what its release declares."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from remit import Domain, Event, Remit, Run
from remit.runtime.duties import registrar
from tests.runtime.working import until


class Tower(Domain[None]):
    """Rings."""


class Rung(Event[Tower]):
    number: int = 0


tower = Tower()
heard: list[str] = []


def release(**options: Any) -> Domain[None]:
    """The subscriber's domain, as one release declares it."""

    class Town(Domain[None]):
        pass

    town = Town()

    @town.on(Rung, **options)
    async def listen(event: Rung, run: Run[Town]) -> None:
        assert run.event is not None
        heard.append(run.event.id)

    return town


@asynccontextmanager
async def worker(url: str, **options: Any) -> AsyncIterator[Remit]:
    """A worker of a release, started without a migration of its own."""
    app = Remit(url, domains=[tower, release(**options)])
    async with app, app.worker():
        yield app


async def migrated(url: str, **options: Any) -> None:
    await Remit(url, domains=[tower, release(**options)]).migrate()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said since the last time."""
    found = [each.getMessage() for each in caplog.records if each.name == "remit" and each.levelno >= logging.WARNING]
    caplog.clear()
    return found


TWINS = (
    "subscriptions town.new and town.old stand for one handler, which gets each event from both: "
    "run `remit subscriptions retire town.old`"
)


async def test_an_alias_that_came_a_release_too_late_is_told_once_until_the_old_name_is_retired(
    store_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar, "INTERVAL", 0.01)
    await migrated(store_url, name="old")
    await migrated(store_url, name="new")
    heard.clear()
    async with worker(store_url, name="new", aliases=("old",)) as app:
        ref = await tower.publish(Rung())
        await until(lambda: heard.count(ref.id) == 2, "one handler gets it twice")
        turns = []
        looked = registrar.operations.differences

        async def counted(*arguments: Any) -> Any:
            turns.append(1)
            return await looked(*arguments)

        monkeypatch.setattr(registrar.operations, "differences", counted)
        await until(lambda: len(turns) > 3, "the leader looks again and again")
        assert warnings(caplog) == [TWINS]
        names = {each.name: each.retired_at for each in await app.subscriptions.list()}
        assert names == {"town.new": None, "town.old": None}, "nothing is retired but by a person"
        await app.subscriptions.retire("town.old")
        again = await tower.publish(Rung())
        await until(lambda: again.id in heard, "it is delivered")
    async with worker(store_url, name="new", aliases=("old",)) as app:
        assert (await app.subscriptions.differences()).duplicates == ()
    assert warnings(caplog) == []
    assert heard.count(again.id) == 1


async def test_a_rename_with_its_alias_and_a_new_declaration_are_no_reason_to_warn(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrated(store_url, name="old")
    for _ in range(2):
        async with worker(store_url, name="new", aliases=("old",)):
            pass
    async with worker(store_url, name="new", aliases=("old",), where={"number": 7}) as app:
        assert (await app.subscriptions.get("town.new")).conditions == {1: {"number": ["7"]}}
    assert warnings(caplog) == []


async def test_a_roll_back_without_a_migration_is_told_at_each_start_until_it_is_migrated(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrated(store_url, name="hears", where={"number": 1})
    async with worker(store_url, name="hears", where={"number": 2}):
        assert warnings(caplog) == []
    for _ in range(2):
        async with worker(store_url, name="hears", where={"number": 1}) as app:
            assert (await app.subscriptions.get("town.hears")).conditions == {1: {"number": ["2"]}}, (
                "nothing is put back"
            )
        [told] = warnings(caplog)
        assert told.startswith(
            "the store holds another declaration of town.hears (there town.hears, revision 2) than this worker's"
        )
        assert "`remit migrate` of this release" in told
    await migrated(store_url, name="hears", where={"number": 1})
    async with worker(store_url, name="hears", where={"number": 1}):
        pass
    assert warnings(caplog) == []


async def test_an_old_name_is_told_with_the_name_that_the_store_has(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrated(store_url, name="old")
    await migrated(store_url, name="new", aliases=("old",))
    async with worker(store_url, name="old"):
        pass
    [told] = warnings(caplog)
    assert "another declaration of town.old (there town.new, revision 2)" in told


async def test_a_name_that_is_in_use_is_meant_before_one_that_another_had(store_url: str) -> None:
    """Else the remedy for duplicates would retire the wrong one."""
    await migrated(store_url, name="a", aliases=("b",))
    app = Remit(store_url, domains=[tower, two()])
    await app.migrate()
    async with app:
        assert (await app.subscriptions.get("town.b")).name == "town.b"


def two() -> Domain[None]:
    class Town(Domain[None]):
        pass

    town = Town()

    @town.on(Rung, name="a")
    async def first(event: Rung, run: Run[Town]) -> None:
        pass

    @town.on(Rung, name="b")
    async def second(event: Rung, run: Run[Town]) -> None:
        pass

    return town
