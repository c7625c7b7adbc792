"""A worker as `python -m tests.faults.worker_main` runs it: told by its environment, heard on its standard output."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import sqlite3
from typing import Any

from remit import Remit
from remit.execution import operations as execution
from remit.jobs import operations as jobs
from remit.outbox import operations as outbox
from remit.outbox.model import Dispatched
from remit.runtime import operations as workers


def say(word: str, *more: str) -> None:
    os.write(1, (" ".join([word, *more]) + "\n").encode())


def die_at(point: str) -> None:
    """Kill this process at a call to the store: `finish:after:2` is after the second outcome batch was committed.

    `sql:INSERT INTO remit_log` is before the first statement of that beginning that runs in a transaction (SQLite).
    """
    operation, _, rest = point.partition(":")
    if operation == "sql":
        die_before_sql(rest)
        return
    when, _, count = rest.partition(":")
    module = next(module for module in (jobs, execution, outbox, workers) if hasattr(module, operation))
    original, left = getattr(module, operation), int(count)

    async def counted(tx: Any, *args: Any, **options: Any) -> Any:
        nonlocal left
        if when == "before" and left == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await original(tx, *args, **options)
        left -= did_something(answer)
        if when == "after" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(module, operation, counted)


def did_something(answer: Any) -> bool:
    if isinstance(answer, Dispatched):
        return answer.events > 0
    return any(answer) if isinstance(answer, tuple) else bool(answer)


def die_before_sql(beginning: str) -> None:
    from remit.db.sqlite import store

    connect = store.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)

        def look(statement: str) -> None:
            if statement.lstrip().startswith(beginning):
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(look)
        return connection

    store.connect = traced


async def work(app: Remit) -> None:
    worker = app.worker()
    start, request_stop = worker.start, worker.request_stop

    async def announced() -> None:
        await start()
        say("ready", worker.id)

    def asked() -> None:
        request_stop()
        say("asked")

    worker.start, worker.request_stop = announced, asked  # type: ignore[method-assign]
    say("starting")
    await worker.run()
    say("stopped")


def main() -> None:
    options = json.loads(os.environ["FAULTS_OPTIONS"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if point := options.pop("die_at", None):
        die_at(point)
    application = importlib.import_module(options.pop("application"))
    asyncio.run(
        work(
            Remit(
                os.environ["FAULTS_URL"], domains=getattr(application, "domains", None) or [application.yard], **options
            )
        )
    )
    say("ended")


if __name__ == "__main__":
    main()
