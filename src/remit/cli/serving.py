"""One worker process, from the application's path to its exit status."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from remit.app import Remit
from remit.cli import logs
from remit.cli.applications import naming
from remit.cli.banner import Banner, examine
from remit.cli.exits import Exit
from remit.cli.loading import load
from remit.cli.output import say
from remit.cli.stopping import StopSwitch
from remit.cli.wording import count, span
from remit.runtime.worker import Worker
from remit.telemetry import log


@dataclass(frozen=True, slots=True)
class Orders:
    """The settings of a worker process. `number` is its place among `processes` that are supervised, from 1."""

    application: str
    lease: float | None = None
    grace: float | None = None
    log_level: logs.LogLevel = "info"
    log_format: logs.LogFormat = "text"
    processes: int = 1
    max_tasks_per_child: int | None = None
    number: int | None = None
    queues: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def introduces(self) -> bool:
        """Whether it shows the start-up messages; those of the others would be the same."""
        return self.number in (None, 1)


def serve(orders: Orders, stop: StopSwitch, ready: Callable[[], None] = lambda: None) -> int:
    """Run a worker until a signal stops it; `ready` is called when it claims jobs.

    Raises the errors that prevent its start.
    """
    app = load(orders.application)
    ours = logs.configure(orders.log_level, orders.log_format, orders.number)
    stop.hold()
    if stop.asked:
        return Exit.OK
    with naming(orders.application), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_Service(app, orders, stop, ready, in_json=ours and orders.log_format == "json").run())
    return Exit.OK


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, if it is installed: an idle worker then starts a job sooner."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Service:
    def __init__(
        self, app: Remit, orders: Orders, stop: StopSwitch, ready: Callable[[], None], *, in_json: bool
    ) -> None:
        self._app = app
        self._orders = orders
        self._stop = stop
        self._ready = ready
        self._in_json = in_json
        self._asked = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        orders = self._orders
        worker = self._app.worker(
            lease=orders.lease,
            grace=orders.grace,
            max_tasks_per_child=orders.max_tasks_per_child,
            queues=orders.queues,
            exclude=orders.exclude,
        )

        def asked() -> None:
            worker.request_stop()  # the first stops it, the second at once
            self._asked.set()

        def heard() -> None:
            loop.call_soon_threadsafe(asked)

        with self._stop.telling(heard):
            async with AsyncExitStack() as stack:
                if await self._started(worker, stack):
                    await self._work(worker)

    async def _started(self, worker: Worker, stack: AsyncExitStack) -> bool:
        """Start, unless a stop is requested meanwhile."""
        starting = asyncio.create_task(self._start(worker, stack))
        asked = asyncio.create_task(self._asked.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            log.info("stopped before it had started")
            return False
        await starting
        return True

    async def _start(self, worker: Worker, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._app)  # checks the schema
        self._app.catalog.load_handlers()
        if self._orders.introduces:
            self._show(await examine(self._app, worker, self._orders.processes))
        await worker.start()

    async def _work(self, worker: Worker) -> None:
        begun = time.monotonic()
        self._ready()
        how = "" if self._orders.processes > 1 or not sys.stderr.isatty() else "; Ctrl-C stops it"
        log.info("worker %s is ready%s", worker.id, how)
        await self._asked.wait()
        running, grace = len(worker.parts.executor.active), worker.settings.grace
        patience = f"; {count(running, 'run')} may take {grace:g} s to end, a second signal ends them now"
        log.info("stopping%s", patience if running else "")
        await worker.stop()
        log.info("stopped after %s: %s", span(time.monotonic() - begun), _tally(worker))

    def _show(self, banner: Banner) -> None:
        if self._in_json:
            logging.getLogger("remit").info("worker starts", extra=banner.document())
        else:
            say(banner.screen(), stderr=True)


def _tally(worker: Worker) -> str:
    """The outcomes of its whole life."""
    words = {"ready": "given back", "scheduled": "put off"}
    counts = sorted(worker.telemetry.counts.items())
    return ", ".join(f"{number:,} {words.get(name, name)}" for name, number in counts) or "nothing was run"
