"""A command run in this process, or as a process of its own; the application it works on."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from remit import Remit
from remit.catalog import delivery_line
from remit.db.transaction import Role
from remit.outbox import operations
from remit.outbox.rows import subscription_row

HERE = Path(__file__).parent
PATIENCE = 30.0


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Result]


class Depot:
    """The application on a fresh database, and its domain."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, act: Callable[[Remit], Awaitable[Any]]) -> Any:
        """Do something with the open application."""
        from depot.app import make_app

        async def session() -> Any:
            app = make_app()
            async with app:
                return await act(app)

        return asyncio.run(session())

    def enqueue(self, *jobs: Any, **options: Any) -> list[str]:
        """Send jobs, and give their ids."""
        from depot.messages import depot

        async def act(_: Remit) -> list[str]:
            return [ref.id for ref in await depot.enqueue_many(jobs, **options)]

        return self.run(act)  # type: ignore[no-any-return]

    def send(self, job: Any, id: str) -> str:
        """Send one job under an id of the caller's own."""
        from depot.messages import depot

        async def act(_: Remit) -> str:
            return (await depot.enqueue(job, id=id)).id

        return self.run(act)  # type: ignore[no-any-return]

    def set_scope(self, id: str, scope: str) -> None:
        """Give a job the scope that an application with scope keys would have sent."""

        async def act(app: Remit) -> None:
            database = app.store.database(Role.CLIENT)
            async with database.session() as session:
                mark, table = ("?", "remit_job") if app.store.dialect == "sqlite" else ("%s", "remit.job")
                await session.execute(f"UPDATE {table} SET scope = {mark} WHERE id = {mark}", [scope, id])
            await database.close()

        self.run(act)

    def drain(self) -> None:
        """Run what is ready."""
        self.run(lambda app: app.drain())

    def states(self) -> dict[str, str]:
        """Every job's state, by its id."""

        async def act(app: Remit) -> dict[str, str]:
            return {job.id: job.state.value for job in (await app.jobs.list(limit=1000)).jobs}

        return self.run(act)  # type: ignore[no-any-return]


class Harbour:
    """The application with events, on a fresh database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, act: Callable[[Remit], Awaitable[Any]]) -> Any:
        """Do something with the open application."""
        from harbour.app import make_app

        async def session() -> Any:
            app = make_app()
            async with app:
                return await act(app)

        return asyncio.run(session())

    def publish(self, *events: Any) -> list[str]:
        """Publish events of the port, and give their ids."""
        from harbour.messages import port

        async def act(_: Remit) -> list[str]:
            return [(await port.publish(event)).id for event in events]

        return self.run(act)  # type: ignore[no-any-return]

    def deliver(self) -> None:
        """Relay what is pending, and run what comes of it."""

        async def act(app: Remit) -> None:
            async with asyncio.timeout(PATIENCE), app.worker() as worker:
                while (await app.events.outbox()).pending:
                    await asyncio.sleep(0.01)
                await worker.drain()

        self.run(act)

    def vanish(self, name: str, like: str = "customs.inspect") -> None:
        """Leave a subscription in the store that no code declares any more."""
        from harbour.app import make_app

        app = make_app()
        app.catalog.import_handlers()
        [model] = [each for each in app.catalog.subscriptions if each.name == like]
        row = subscription_row([model], app.catalog.policy(model))
        line = delivery_line(model.queue.name, name)
        gone = {**row, "name": name, "line": line, "condition": None, "fingerprint": name}

        async def act(app: Remit) -> None:
            database = app.store.database(Role.CLIENT)
            await database.run(lambda tx: operations.declare(tx, [gone], force=False))
            await database.close()

        self.run(act)

    def execute(self, sql: str) -> None:
        """Change what no operation changes; tables are written as `remit.event`."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
                connection.execute(sql.replace("remit.", "remit_"))
        else:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(sql.encode())


@dataclass
class Process:
    """A running command, whose lines are read as they come."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, times: int = 1) -> str:
        """Wait until so many lines contain a text; answers the last of them."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: len(self._with(text)) >= times or not self._reader.is_alive(), timeout=PATIENCE
            )
            found = self._with(text)
        if not done or len(found) < times:
            raise AssertionError(f"no {text!r} ({times} times) from pid {self.popen.pid}:\n{self.output}")
        return found[times - 1]

    def _with(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Wait for the end; answers the exit status."""
        status = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status


Start = Callable[..., Process]


class Terminal(io.StringIO):
    """Somebody who sits there, and says one thing."""

    def isatty(self) -> bool:
        return True


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something outside is true; answers it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")
