"""Handlers in processes of their own behave as all others do."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from remit import Defaults, Retry
from tests.runtime.foundry import Cast, CastOnce, foundry
from tests.runtime.working import all_ended, ended, in_state, until, working


async def test_what_it_returns_and_knows(store_url: str) -> None:
    async with working(store_url, foundry) as (app, _):
        refs = [await foundry.enqueue(Cast(how="return")) for _ in range(4)]
        results = [record.result for record in await all_ended(app, *refs)]
    assert [result["key"] for result in results] == [ref.id for ref in refs]
    assert {result["attempt"] for result in results} == {1}
    pids = {result["pid"] for result in results}
    assert len(pids) <= 2, "children are kept for the next"
    assert os.getpid() not in pids
    assert {result["context"] for result in results} == {f"tools of {pid}" for pid in pids}


async def test_every_outcome(store_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hows = ["no json", "skip", "group", "stop", "snooze", "dead letter", "retry after", "fail", "exit", "chatter"]
    async with working(store_url, foundry) as (app, _):
        refs = [await foundry.enqueue(Cast(how=how, folder=str(tmp_path))) for how in hows]
        records = dict(zip(hows, await all_ended(app, *refs), strict=True))
        children = (await app.jobs.list(job="foundry.ingot")).jobs
    assert {how: (record.state.value, record.failures) for how, record in records.items()} == {
        "no json": ("completed", 0), "skip": ("skipped", 0), "group": ("skipped", 0), "stop": ("cancelled", 0),
        "snooze": ("completed", 0), "dead letter": ("dead", 1), "retry after": ("completed", 1),
        "fail": ("completed", 1), "exit": ("completed", 1), "chatter": ("completed", 0),
    }  # fmt: skip
    assert records["group"].reason == "nothing to cast; nor to melt"
    assert records["stop"].reason == "half of it is cast"
    assert records["skip"].reason == "nothing to cast"
    assert records["dead letter"].reason == "cracked"
    assert "result not kept: foundry.cast" in capfd.readouterr().err
    [error] = records["fail"].errors
    assert (error.kind, error.message) == ("ValueError", "half a pair \\ud800, a NUL \\0")
    assert "in cast" in (error.traceback or "")
    assert [error.kind for error in records["exit"].errors] == ["SystemExit"]
    expected = {"snooze": 1, "retry after": 2, "fail": 2, "exit": 2, "chatter": 1}
    ids = dict(zip(hows, refs, strict=True))
    sent = {how: [each.payload["number"] for each in children if each.causation == ids[how].id] for how in hows}
    assert {how: numbers for how, numbers in sent.items() if numbers} == {how: [n] for how, n in expected.items()}


async def test_what_it_may_not_send_is_refused_there_and_counted_by_its_worker(store_url: str) -> None:
    async with working(store_url, foundry) as (app, worker):
        record = await ended(app, await foundry.enqueue(Cast(how="trespass")))
        assert worker.health()["refused"] == 1
    assert "foundry cannot enqueue mint.coin: only mint may" in str(record.result)


async def test_what_the_application_says_holds_for_what_is_sent_there(store_url: str) -> None:
    defaults = Defaults(retry=Retry(attempts=9), priority=7, expires=timedelta(hours=1))
    async with working(store_url, foundry, defaults=defaults) as (app, _):
        await ended(app, await foundry.enqueue(Cast(how="chatter")))
        [ingot] = (await app.jobs.list(job="foundry.ingot")).jobs
    assert (ingot.attempts, ingot.priority) == (9, 7)
    assert ingot.expires_at == ingot.created_at + timedelta(hours=1)


async def test_a_payload_that_the_application_forbids_is_refused_there(store_url: str) -> None:
    async with working(store_url, foundry, defaults=Defaults(max_payload=40)) as (app, _):
        record = await ended(app, await foundry.enqueue(Cast(how="too much")))
    assert "foundry.ingot" in str(record.result)
    assert "40" in str(record.result)


@pytest.mark.parametrize("how", ["end", "kill", "close everything"])
async def test_a_child_that_is_gone_is_a_failure_and_is_replaced(store_url: str, how: str) -> None:
    async with working(store_url, foundry) as (app, worker):
        record = await ended(app, await foundry.enqueue(Cast(how=how)))
        assert worker.health() == {"ok": True}
    assert (record.state, record.failures) == ("completed", 1)
    [error] = record.errors
    assert error.kind.endswith("ProcessDied")


async def test_an_exception_that_cannot_cross_is_given_up_on_by_its_class(store_url: str) -> None:
    async with working(store_url, foundry) as (app, _):
        record = await ended(app, await foundry.enqueue(CastOnce()))
    assert (record.state, record.failures) == ("dead", 1)
    [error] = record.errors
    assert error.kind == "tests.runtime.foundry.Unpicklable"


async def test_its_transaction_is_exactly_once(store_url: str) -> None:
    def connect() -> Any:
        if store_url.startswith("sqlite"):
            return sqlite3.connect(store_url.removeprefix("sqlite:///"))
        return psycopg.connect(store_url)

    with contextlib.closing(connect()) as connection:
        connection.execute("CREATE TABLE effect (number integer)")
        connection.commit()
    async with working(store_url, foundry) as (app, _):
        record = await ended(app, await foundry.enqueue(Cast(how="transaction")))
        children = (await app.jobs.list(job="foundry.ingot")).jobs
    with contextlib.closing(connect()) as connection:
        assert connection.execute("SELECT count(*) FROM effect").fetchone()[0] == 1
    assert (record.state, record.failures, record.result) == ("completed", 1, "in a transaction")
    assert [child.payload["number"] for child in children] == [1]


async def test_it_learns_that_it_was_cancelled(store_url: str, tmp_path: Path) -> None:
    async with working(store_url, foundry, lease=1.5) as (app, _):
        ref = await foundry.enqueue(Cast(how="cancel", folder=str(tmp_path)))
        await until(lambda: (tmp_path / "started").exists())
        await in_state(app, ref, "running")
        await app.jobs.cancel(ref.id, reason="enough")
        record = await ended(app, ref)
    assert (record.state, record.reason, record.errors) == ("cancelled", "enough", ())
