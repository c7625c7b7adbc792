"""The relay: what is committed is fanned out, whatever else is in the outbox, and however many relays there are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from remit import Domain, Event, Remit, Retry, Run, fixed
from remit.runtime.duties import relay as relays
from remit.runtime.duties.relay import Relay
from tests.runtime.working import opened, until, working

AGAIN = Retry(attempts=3, backoff=fixed(0.01))


class Press(Domain[None], retry=AGAIN):
    pass


class Reader(Domain[None], retry=AGAIN):
    pass


press, reader = Press(), Reader()


class Printed(Event[Press]):
    number: int
    kind: str = "plain"


class Signed(Event[Press], ordered_by="author"):
    number: int
    author: str


class Unread(Event[Press]):
    number: int


heard: list[tuple[str, int]] = []


@reader.on(Printed, name="read")
async def read(event: Printed, run: Run[Reader]) -> None:
    heard.append(("read", event.number))


@reader.on(Printed, name="collect", where={"kind": "rare"})
async def collect(event: Printed, run: Run[Reader]) -> None:
    heard.append(("collect", event.number))


@reader.on(Signed, name="follow", ordered_by="author")
async def follow(event: Signed, run: Run[Reader]) -> None:
    heard.append(("follow", event.number))


@reader.on(Signed, name="skim", ordered_by="author", on_dead="pass", where={"author": ["bo"]})
async def skim(event: Signed, run: Run[Reader]) -> None:
    heard.append(("skim", event.number))


@pytest.fixture(autouse=True)
def _clean() -> None:
    heard.clear()


def numbers(by: str) -> list[int]:
    return [number for who, number in heard if who == by]


@contextlib.contextmanager
def hand(url: str) -> Iterator[Any]:
    """A person's hand in the database."""
    if url.startswith("sqlite"):
        with contextlib.closing(
            sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
        ) as db:
            yield lambda sql, *params: db.execute(sql.replace("remit.", "remit_").replace("%s", "?"), params).fetchall()
    else:
        with psycopg.connect(url, autocommit=True) as db:

            def run(sql: str, *params: Any) -> list[Any]:
                cursor = db.execute(sql, params)
                return cursor.fetchall() if cursor.description else []

            yield run


def spoil(url: str, *ids: str) -> None:
    with hand(url) as execute:
        for id in ids:
            execute("UPDATE remit.event SET payload = '{' WHERE id = %s", id)


async def dispatched(app: Remit, *ids: str) -> None:
    async def all_are() -> bool:
        return all([(await app.events.get(id)).state == "dispatched" for id in ids])

    await until(all_are, "the events are dispatched")


async def in_state(app: Remit, id: str, state: str) -> None:
    async def there() -> bool:
        return (await app.events.get(id)).state == state

    await until(there, f"the event is {state}")


# --- sequence numbers that commit out of order (fault 69)


async def test_fault_69_an_event_that_commits_late_is_not_skipped(postgres_url: str) -> None:
    async with working(postgres_url, press, reader) as (app, _):
        async with await psycopg.AsyncConnection.connect(postgres_url) as early:
            first = await press.publish(Printed(number=1), tx=early)
            later = [(await press.publish(Printed(number=n))).id for n in range(2, 700)]
            await dispatched(app, *later[-3:])
            await until(lambda: len(numbers("read")) == 698)
            await early.commit()
        await until(lambda: 1 in numbers("read"), "the event that became visible late is delivered")
        assert (await app.events.get(first.id)).deliveries == 1
        with hand(postgres_url) as execute:
            [(lowest,)] = execute("SELECT id::text FROM remit.event ORDER BY seq LIMIT 1")
        assert lowest == first.id, "its number is the lowest"


async def test_fault_69_ordered_events_of_one_key_are_committed_in_the_order_of_their_numbers(
    postgres_url: str,
) -> None:
    async with working(postgres_url, press, reader) as (app, _):
        async with await psycopg.AsyncConnection.connect(postgres_url) as early:
            await press.publish(Signed(number=1, author="al"), tx=early)
            waits = asyncio.create_task(press.publish(Signed(number=2, author="al")))
            other = await press.publish(Signed(number=3, author="bo"))
            await dispatched(app, other.id)
            assert not waits.done(), "the second publisher of a key waits for the first"
            await early.commit()
        await waits
        await until(lambda: len(numbers("follow")) == 3)
    assert [n for n in numbers("follow") if n != 3] == [1, 2]


# --- several relays on one batch (fault 68)


async def test_fault_68_two_relays_on_one_batch_make_each_delivery_once(store_url: str) -> None:
    async with opened(store_url, press, reader) as app:
        refs = await press.publish_many([Printed(number=n, kind="rare") for n in range(300)])
        refs += await press.publish_many([Signed(number=n, author="al") for n in range(20)])
        async with app.worker() as one, app.worker() as two:
            await dispatched(app, *(ref.id for ref in refs))
            await until(lambda: len(heard) == 620, "everything is delivered")
            assert one.parts.get(Relay).dispatched + two.parts.get(Relay).dispatched == 320
    assert Counter(heard) == Counter(
        {**{(by, n): 1 for by in ("read", "collect") for n in range(300)}, **{("follow", n): 1 for n in range(20)}}
    )
    assert numbers("follow") == list(range(20))


# --- poison


async def test_a_poison_event_is_found_by_bisection_and_holds_up_no_other(store_url: str) -> None:
    async with opened(store_url, press, reader) as app:
        refs = await press.publish_many([Printed(number=n) for n in range(50)])
        poison = {refs[7].id, refs[8].id, refs[41].id}
        spoil(store_url, *poison)
        async with app.worker() as worker:
            await dispatched(app, *(ref.id for ref in refs if ref.id not in poison))
            await until(lambda: len(numbers("read")) == 47)
            later = await press.publish(Printed(number=50))
            await dispatched(app, later.id)
            for id in poison:
                event = await app.events.get(id)
                assert event.state == "pending"
                assert event.attempts >= 1
                assert event.error
            assert worker.parts.get(Relay).complaint is None, "it is the event, not the relay"


async def test_a_poison_event_is_dead_after_its_tries_and_delivered_when_it_was_mended(
    store_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relays, "MOST_ATTEMPTS", 3)
    monkeypatch.setattr(relays, "_BACKOFF", fixed(0.01))
    async with opened(store_url, press, reader) as app:
        ref = await press.publish(Printed(number=1, kind="rare"))
        spoil(store_url, ref.id)
        async with app.worker():
            await in_state(app, ref.id, "dead")
            event = await app.events.get(ref.id)
            assert (event.attempts, event.records) == (3, ())
            assert event.error
            assert (await app.events.outbox()).dead == 1
            assert [told for told in caplog.messages if "press.printed" in told and ref.id in told]
            with hand(store_url) as execute:
                payload = json.dumps({"number": 1, "kind": "rare"}, separators=(",", ":"))
                execute("UPDATE remit.event SET payload = %s WHERE id = %s", payload, ref.id)
            await app.events.retry(ref.id)
            await until(lambda: sorted(heard) == [("collect", 1), ("read", 1)], "it is delivered to everybody")
            event = await app.events.get(ref.id)
            assert (event.state, event.deliveries, event.error) == ("dispatched", 2, None)
            assert (await app.events.outbox()).dead == 0


async def test_the_tries_of_a_poison_event_come_ever_less_often(store_url: str) -> None:
    async with opened(store_url, press, reader) as app:
        ref = await press.publish(Printed(number=1))
        spoil(store_url, ref.id)
        with hand(store_url) as execute:
            execute("UPDATE remit.event SET attempts = 8 WHERE id = %s", ref.id)
        async with app.worker():

            async def tried() -> bool:
                return (await app.events.get(ref.id)).attempts == 9

            await until(tried)
            with hand(store_url) as execute:
                far = "60000000" if store_url.startswith("sqlite") else "interval '1 minute'"
                [(is_far,)] = execute(f"SELECT due_at - published_at > {far} FROM remit.event")
            assert is_far, "ten tries at once would be over before anybody could mend anything"


async def test_fault_66_a_poisoned_head_holds_up_its_key_and_nothing_else(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait behind it: more than one batch."""
    monkeypatch.setattr(relays, "BATCH", 5)
    monkeypatch.setattr(relays, "MOST_ATTEMPTS", 2)
    monkeypatch.setattr(relays, "_BACKOFF", fixed(0.01))
    async with opened(store_url, press, reader) as app:
        head, *behind = await press.publish_many([Signed(number=n, author="bo") for n in range(20)])
        spoil(store_url, head.id)
        async with app.worker():
            await in_state(app, head.id, "dead")
            behind += [await press.publish(Signed(number=20, author="bo"))]
            others = [await press.publish(Signed(number=n, author="al")) for n in range(100, 107)]
            others += [await press.publish(Printed(number=n)) for n in range(7)]
            await dispatched(app, *(ref.id for ref in others))
            await until(lambda: len(numbers("read")) == 7 and len(numbers("follow")) == 7)
            for ref in behind:
                assert (await app.events.get(ref.id)).state == "pending", "it waits behind the dead one"
            assert (await app.events.outbox()).pending == 20
            with hand(store_url) as execute:
                payload = json.dumps({"number": 0, "author": "bo"}, separators=(",", ":"))
                execute("UPDATE remit.event SET payload = %s WHERE id = %s", payload, head.id)
            await app.events.retry(head.id)
            await dispatched(app, *(ref.id for ref in behind))
            await until(lambda: len(numbers("skim")) == 21)
            await until(lambda: len(numbers("follow")) == 28)
    assert [n for n in numbers("follow") if n < 100] == list(range(21))
    assert numbers("skim") == list(range(21))


async def test_an_event_that_nobody_wants_is_dispatched_to_nobody_and_kept(store_url: str) -> None:
    async with working(store_url, press, reader) as (app, _):
        ref = await press.publish(Unread(number=1))
        await dispatched(app, ref.id)
        event = await app.events.get(ref.id)
        assert (event.deliveries, event.records) == (0, ())


async def test_a_backlog_larger_than_many_batches_is_dispatched_to_its_end(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "BATCH", 7)
    async with opened(store_url, press, reader) as app:
        refs = await press.publish_many([Printed(number=n) for n in range(100)])
        async with app.worker():
            await dispatched(app, *(ref.id for ref in refs))
            await until(lambda: sorted(numbers("read")) == list(range(100)))
