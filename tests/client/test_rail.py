"""The direct rail, on real stores: what it promises, and what it costs when the store or the process goes away."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from remit import Domain, Event, Rail, Remit
from remit.client.rail import DirectRail
from remit.errors import (
    InvalidArgument,
    NotAMessage,
    OwnershipError,
    PayloadTooLarge,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    UnknownOption,
    WrongSchema,
)
from tests.client.railway import Moved, Sales, Sold, away, connect, execute, sales, written
from tests.servers import PostgresServer

SLOWLY = Rail(linger=60)


class Stranger(Domain):
    """Owns an event that is not for sale."""


stranger = Stranger()


class Elsewhere(Event[Stranger]):
    number: int


@contextmanager
def application(url: str, rail: Rail | None = None) -> Iterator[Remit]:
    app = Remit(url, domains=[sales, stranger], rail=rail)
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


def rail_of(app: Remit) -> DirectRail:
    return app._connections.rail


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_events_reach_the_store_by_themselves_and_in_order(store_url: str) -> None:
    with application(store_url, Rail(linger=0.01, batch=7)):
        refs = [sales.sync.publish_soon(Sold(number=number)) for number in range(50)]
        until(lambda: len(written(store_url)) == 50)
        assert written(store_url) == list(range(50))
        assert len({ref.id for ref in refs}) == 50


async def test_the_async_face_does_the_same(store_url: str) -> None:
    with application(store_url, SLOWLY):
        for number in range(50):
            await sales.publish_soon(Sold(number=number))
        assert written(store_url) == []
        await sales.flush()
        assert written(store_url) == list(range(50))


def test_a_flush_returns_when_what_was_taken_before_is_written_and_at_once_when_nothing_was(store_url: str) -> None:
    with application(store_url, SLOWLY) as app:
        sales.sync.flush()
        assert not rail_of(app).in_use, "no thread, no connection"
        sales.sync.publish_soon(Sold(number=1))
        sales.sync.flush()
        assert written(store_url) == [1]


def test_a_full_batch_is_written_without_waiting_for_time(store_url: str) -> None:
    with application(store_url, Rail(linger=60, batch=10)):
        for number in range(10):
            sales.sync.publish_soon(Sold(number=number))
        until(lambda: len(written(store_url)) == 10)


def test_options_ids_and_duplicates_are_those_of_publish(store_url: str) -> None:
    with application(store_url) as app:
        id, cause = uuid4(), uuid4()
        for _ in range(2):
            assert sales.sync.publish_soon(Sold(number=1), id=id, correlation=cause).id == str(id)
        sales.sync.flush()
        assert written(store_url) == [1], "under one id there is one event"
        assert app.sync.events.get(str(id)).correlation == str(cause)


def test_events_of_one_key_keep_their_order_from_several_threads(store_url: str) -> None:
    def send(parcel: str) -> None:
        for number in range(200):
            sales.sync.publish_soon(Moved(parcel=parcel, number=number))

    with application(store_url, Rail(linger=0.001, batch=20, capacity=50)):
        threads = [threading.Thread(target=send, args=[f"parcel {n}"]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sales.sync.flush()
    for_each: dict[int, list[int]] = {}
    for lane, payload in execute(store_url, "SELECT lane, payload FROM remit_event ORDER BY seq"):
        for_each.setdefault(lane, []).append(int(payload.split('"number":')[1].rstrip("}")))
    assert len(for_each) == 4
    assert all(numbers == list(range(200)) for numbers in for_each.values())


def test_several_event_loops_share_one_rail(store_url: str) -> None:
    async def send(first: int) -> None:
        for number in range(first, first + 100):
            await sales.publish_soon(Sold(number=number))
        await sales.flush()

    with application(store_url, Rail(linger=0.01, capacity=30, batch=10)):
        threads = [threading.Thread(target=lambda first=first: asyncio.run(send(first))) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(written(store_url)) == list(range(300))


# --- what is refused, is refused in the caller, at once


def test_what_is_wrong_with_an_event_is_told_to_the_caller_and_nothing_is_taken(store_url: str) -> None:
    with application(store_url) as app:
        with pytest.raises(OwnershipError, match=r"sales cannot publish stranger\.elsewhere"):
            sales.sync.publish_soon(Elsewhere(number=1))  # type: ignore[arg-type]
        with pytest.raises(PayloadTooLarge):
            sales.sync.publish_soon(Sold(number=1, text="x" * 70_000))
        with pytest.raises(NotAMessage):
            sales.sync.publish_soon(Sold)  # type: ignore[arg-type]
        with pytest.raises(UnknownOption):
            sales.sync.publish_soon(Sold(number=1), delay=3)  # type: ignore[call-arg]
        assert not rail_of(app).in_use


@pytest.mark.parametrize(
    "options, words",
    [
        ({"linger": -1}, "linger must be 0 seconds or more, and finite, not -1"),
        ({"linger": "fast"}, "linger must be a number of seconds or a timedelta, not 'fast'"),
        ({"batch": 0}, "batch must be a whole number from 1 to 1,000, not 0"),
        ({"batch": 2_000}, "batch must be a whole number from 1 to 1,000, not 2000"),
        ({"capacity": 0}, "capacity must be a whole number"),
        ({"capacity": 10}, "batch must not be over capacity, but 1,000 is over 10"),
        ({"capacity_bytes": 0}, "capacity_bytes must be a whole number"),
        ({"max_wait": -1}, "max_wait must be 0 seconds or more, or math.inf"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Rail(**options)  # type: ignore[arg-type]
    assert words in str(refusal.value)


def test_durations_may_be_timedeltas() -> None:
    assert Rail(linger=timedelta(milliseconds=20)) == Rail(linger=0.02)


# --- a full buffer


@pytest.mark.parametrize("limits", [{"capacity": 5, "batch": 5}, {"capacity_bytes": 130}], ids=str)
async def test_a_full_buffer_holds_its_producers_and_serves_them_in_turn(
    store_url: str, limits: dict[str, int]
) -> None:
    """Blocking and asyncio producers stand in one queue."""
    with application(store_url, Rail(linger=60, **limits)) as app:
        with away(store_url):
            for number in range(5):
                await sales.publish_soon(Sold(number=number))  # 24 bytes each
            late = []
            for number in range(5, 15):
                verb = sales.publish_soon(Sold(number=number))
                late.append(
                    asyncio.create_task(verb)
                    if number % 2
                    else asyncio.create_task(asyncio.to_thread(sales.sync.publish_soon, Sold(number=number)))
                )
                if not number % 2:
                    verb.close()
                while len(rail_of(app)._queue) < len(late):
                    await asyncio.sleep(0.001)
            assert not any(task.done() for task in late)
        await asyncio.gather(*late)
        await sales.flush()
        assert written(store_url) == list(range(15))


async def test_a_small_event_does_not_pass_a_large_one_that_waits_for_room(store_url: str) -> None:
    with application(store_url, Rail(linger=60, capacity_bytes=130)) as app:
        with away(store_url):
            await sales.publish_soon(Sold(number=0))
            late = []
            for number, text in ((1, "x" * 120), (2, "")):
                late.append(asyncio.create_task(sales.publish_soon(Sold(number=number, text=text))))
                await asyncio.sleep(0)
                assert len(rail_of(app)._queue) == len(late), "there is room for the second one, but not its turn"
        await asyncio.gather(*late)
        await sales.flush()
        assert written(store_url) == [0, 1, 2]


def test_an_event_that_finds_no_room_within_max_wait_is_refused_and_not_taken(store_url: str) -> None:
    with application(store_url, Rail(linger=0, capacity=2, batch=2, max_wait=0.2)):
        with away(store_url):
            for number in range(2):
                sales.sync.publish_soon(Sold(number=number))
            with pytest.raises(
                StoreBusy, match=r"(?s)the direct rail has been full for 0.2 s.*not taken: .*`remit migr"
            ):
                sales.sync.publish_soon(Sold(number=2))
            with pytest.raises(StoreBusy):
                asyncio.run(sales.publish_soon(Sold(number=2)))
            with pytest.raises(WrongSchema):
                sales.sync.flush()
        sales.sync.flush()
        assert written(store_url) == [0, 1]


async def test_a_producer_that_is_cancelled_leaves_the_queue(store_url: str) -> None:
    with application(store_url, Rail(linger=0, capacity=1, batch=1)):
        with away(store_url):
            await sales.publish_soon(Sold(number=0))
            tasks = [asyncio.create_task(sales.publish_soon(Sold(number=number))) for number in (1, 2)]
            await asyncio.sleep(0.05)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
        await tasks[1]
        await sales.flush()
        assert written(store_url) == [0, 2]


def test_an_event_larger_than_the_buffer_is_taken_while_it_is_empty(store_url: str) -> None:
    with application(store_url, Rail(capacity_bytes=10)):
        for number in range(3):
            sales.sync.publish_soon(Sold(number=number, text="much longer than that"))
        sales.sync.flush()
        assert written(store_url) == [0, 1, 2]


# --- a store that is away


def test_a_flush_that_fails_raises_and_loses_nothing(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with application(store_url, SLOWLY):
        with away(store_url):
            for number in range(3):
                sales.sync.publish_soon(Sold(number=number))
            for _ in range(2):
                with pytest.raises(WrongSchema):
                    sales.sync.flush()
            assert isinstance(asyncio.run(flushed()), WrongSchema)
        sales.sync.publish_soon(Sold(number=3))
        until(lambda: len(written(store_url)) >= 3)  # by itself: a try that failed is repeated without being asked
        sales.sync.flush()
        assert written(store_url) == [0, 1, 2, 3]
    told = [record.message for record in caplog.records if "direct rail" in record.message]
    assert len(told) == 2, told
    assert told[0].startswith("the direct rail cannot work: ")
    assert told[1].startswith("the direct rail works again after ")


async def flushed() -> StoreError | None:
    try:
        await sales.flush()
    except StoreError as error:
        return error
    return None


@pytest.mark.fault
async def test_events_outlast_a_server_that_is_restarted(
    own_postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_postgres_server.create_database()
    with application(url, Rail(linger=0.005)):
        await sales.publish_soon(Sold(number=0))
        await sales.flush()
        await asyncio.to_thread(own_postgres_server.crash)
        for number in range(1, 100):
            await sales.publish_soon(Sold(number=number))
        with pytest.raises(StoreUnavailable):
            await sales.flush()
        await asyncio.to_thread(own_postgres_server.start)
        await asyncio.to_thread(until, lambda: len(written(url)) == 100)
        await sales.flush()
        assert written(url) == list(range(100))
    assert len([1 for record in caplog.records if "the direct rail cannot work" in record.message]) == 1


def test_an_event_that_the_store_refuses_does_not_hold_up_the_others(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with application(store_url, SLOWLY):
        if store_url.startswith("sqlite"):
            refuse = (
                "CREATE TRIGGER refuse BEFORE INSERT ON remit_event WHEN new.payload LIKE '%poison%' "
                "BEGIN SELECT RAISE(ABORT, 'poison'); END"
            )
        else:
            refuse = "ALTER TABLE remit_event ADD CONSTRAINT poison CHECK (payload NOT LIKE '%poison%')"
        execute(store_url, refuse)
        for number in range(20):
            sales.sync.publish_soon(Sold(number=number, text="poison" if number in {3, 4, 19} else ""))
        with pytest.raises(StoreError, match="poison"):
            sales.sync.flush()
        assert written(store_url) == [number for number in range(20) if number not in {3, 4, 19}]
        sales.sync.flush()
    assert len([1 for record in caplog.records if "event lost, the store refuses it" in record.message]) == 3


def test_a_store_that_refuses_every_event_loses_none(store_url: str) -> None:
    with application(store_url, SLOWLY):
        if store_url.startswith("sqlite"):
            refuse = "CREATE TRIGGER no BEFORE INSERT ON remit_event BEGIN SELECT RAISE(ABORT, 'closed for today'); END"
            allow = "DROP TRIGGER no"
        else:
            refuse = "ALTER TABLE remit_event ADD CONSTRAINT closed_for_today CHECK (payload = '') NOT VALID"
            allow = "ALTER TABLE remit_event DROP CONSTRAINT closed_for_today"
        execute(store_url, refuse)
        for number in range(20):
            sales.sync.publish_soon(Sold(number=number))
        with pytest.raises(StoreError, match=r"closed.for.today"):
            sales.sync.flush()
        execute(store_url, allow)
        sales.sync.flush()
        assert written(store_url) == list(range(20))


def test_a_flush_inside_a_transaction_that_it_must_wait_for_fails_instead(tmp_path: Path, postgres_url: str) -> None:
    """SQLite has one writer, and on PostgreSQL an ordered event holds its lane: the rail waits for that commit."""
    sqlite = f"sqlite:///{tmp_path / 'remit.db'}?busy_timeout=0.5"
    for url in (sqlite, postgres_url):
        with application(url, SLOWLY), closing(connect(url)) as connection:
            connection.execute("BEGIN")
            sales.sync.publish(Moved(parcel="a", number=1), tx=connection)
            sales.sync.publish_soon(Moved(parcel="a", number=2))
            with pytest.raises(StoreBusy):
                sales.sync.flush()
            connection.execute("COMMIT")
            sales.sync.flush()
            assert written(url) == [1, 2]


# --- the end


def test_closing_the_application_writes_what_is_left(store_url: str) -> None:
    with application(store_url, SLOWLY) as app:
        sales.sync.publish_soon(Sold(number=1))
        assert app._connections.is_open()
    assert not rail_of(app).in_use
    assert written(store_url) == [1]


async def test_closing_it_from_asyncio_does_too_and_it_can_be_used_again(store_url: str) -> None:
    app = Remit(store_url, domains=[sales], rail=SLOWLY)
    await app.migrate()
    with app.bound():
        for number in range(2):
            async with app:
                await sales.publish_soon(Sold(number=number))
            assert written(store_url) == list(range(number + 1))


def test_what_the_store_does_not_take_until_the_end_is_told_aloud(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with application(store_url, Rail(linger=60, capacity=6, batch=6, max_wait=0.5)):
        execute(store_url, "SELECT 1")
        leaving = away(store_url)
        leaving.__enter__()
        for number in range(5):
            sales.sync.publish_soon(Sold(number=number))
        sales.sync.publish_soon(Moved(parcel="a", number=5))
        begun = time.monotonic()
        late: list[BaseException] = []
        thread = threading.Thread(target=lambda: late.extend(error_of(lambda: sales.sync.publish_soon(Sold(number=9)))))
        thread.start()
    assert time.monotonic() - begun < 5
    thread.join()
    leaving.__exit__(None, None, None)
    assert isinstance(late[0], StoreError), "the one who waited is not left alone"
    [told] = [record for record in caplog.records if "events lost" in record.message]
    assert told.levelno == logging.ERROR
    assert told.message.startswith("6 events lost, the store took none of them in the last ")
    assert told.message.endswith("of the direct rail: 5 sales.sold, 1 sales.moved")
    assert written(store_url) == []


def error_of(call: Callable[[], object]) -> list[BaseException]:
    try:
        call()
    except BaseException as error:
        return [error]
    return []


def test_the_thread_ends_when_nothing_comes_and_an_application_can_be_forgotten(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.client.rail.IDLE", 0.05)
    others = set(threading.enumerate())
    with application(store_url) as app:
        for number in range(2):
            sales.sync.publish_soon(Sold(number=number))
            sales.sync.flush()
            until(lambda: not rail_of(app).in_use)
        assert written(store_url) == [0, 1]
    own = [thread for thread in set(threading.enumerate()) - others if thread.name == "remit-rail"]
    for thread in own:
        thread.join(30)
    assert not [thread for thread in own if thread.is_alive()]


def process(kind: str, url: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.client.railway", kind, url], stdout=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload]


def test_an_application_that_is_never_closed_writes_at_the_end_of_the_interpreter(store_url: str) -> None:
    Remit(store_url, domains=[]).sync.migrate()
    with process("exit", store_url) as child:
        assert child.wait(30) == 0
    assert written(store_url) == [0, 1, 2]


def test_the_end_of_the_interpreter_waits_for_the_store_only_so_long(store_url: str) -> None:
    Remit(store_url, domains=[]).sync.migrate()
    with away(store_url), process("exit", store_url, stderr=subprocess.PIPE) as child:
        _, told = child.communicate(timeout=30)
        assert child.returncode == 0
    assert "3 events lost" in told


def test_a_forked_child_begins_with_an_empty_buffer(store_url: str) -> None:
    Remit(store_url, domains=[]).sync.migrate()
    with process("fork", store_url) as child:
        output, _ = child.communicate(timeout=30)
        assert child.returncode == 0
    assert output == "child ended\n"
    assert sorted(written(store_url)) == [0, 1, 2, 100], "each event once: the parent's by the parent"


@pytest.mark.fault
def test_a_killed_process_loses_only_what_was_not_flushed(store_url: str) -> None:
    Remit(store_url, domains=[]).sync.migrate()
    with process("endless", store_url) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(57)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    told = [line.split() for line in lines if line.endswith("\n")]
    confirmed = max(int(number) for word, number in told if word == "flushed")
    found = written(store_url)
    assert confirmed >= 2_000
    assert found == list(range(len(found))), "in order, without a gap: what is lost is the end"
    assert len(found) >= confirmed


def test_an_abandoned_application_still_writes(store_url: str) -> None:
    with application(store_url):
        pass
    app = Remit(store_url, domains=[sales], rail=Rail(linger=0.2))
    with app.bound():
        sales.sync.publish_soon(Sold(number=1))
    del app
    gc.collect()
    until(lambda: written(store_url) == [1])
    assert Sales.__remit__.instance is sales
