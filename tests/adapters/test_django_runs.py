"""Django's connections are seen to around each run, as Django does around each request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections

from remit import JobRecord, Remit
from tests.adapters.djangoed import VARIABLE, InProcess, InThread, OnLoop, studio
from tests.runtime.working import ended, working

KINDS = [OnLoop, InThread, InProcess]


@pytest.fixture
def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(VARIABLE, postgres_url)
    yield postgres_url
    for alias in [alias for alias in connections.databases if alias.startswith("studio-")]:
        del connections.databases[alias]


async def ask(app: Remit, job: Any) -> JobRecord:
    return await ended(app, await studio.enqueue(job))


async def alive(url: str, backend: int) -> bool:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [backend])
        [count] = await cursor.fetchone() or [0]
        return bool(count)


async def terminate(url: str, backend: int) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_terminate_backend(%s)", [backend])
    while await alive(url, backend):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_dropped_connection_costs_one_run_and_not_all_that_follow(url: str, kind: Any) -> None:
    async with working(url, studio) as (app, _):
        first, second = await ask(app, kind()), await ask(app, kind())
        assert first.result == second.result, "kept between runs, as CONN_MAX_AGE says"
        await terminate(url, first.result)
        await ask(app, kind())  # it meets the dead connection, which its end gives up
        after = await ask(app, kind())
    assert (after.state, after.reason) == ("completed", None)
    assert after.result != first.result


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_connection_whose_time_is_over_is_given_up_when_the_run_ends(url: str, kind: Any) -> None:
    async with working(url, studio) as (app, _):
        record = await ask(app, kind(kept=False))
        async with asyncio.timeout(20):
            while await alive(url, record.result):
                await asyncio.sleep(0.01)
    assert record.state == "completed"


def test_nothing_of_django_is_imported_where_it_is_not_used() -> None:
    program = (
        "import sys; from remit import Remit; import remit.runtime.worker; from remit.runtime.handlers import django; "
        "assert django.hook() is None; assert not any(name.partition('.')[0] == 'django' for name in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
