"""`remit worker`: run jobs, in this process or in several that are supervised."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.cli import logs
from remit.cli.applications import named
from remit.cli.options import AppPath
from remit.cli.reloading import reloading
from remit.cli.serving import Orders, serve
from remit.cli.stopping import StopSwitch
from remit.runtime.supervisor import Supervisor


def command(stop: StopSwitch) -> Callable[..., int]:
    """The command; `stop` has received signals since the process began."""

    def worker(
        app: AppPath = None,
        *,
        processes: Annotated[
            int, Parameter(validator=Number(gte=1), metavar="N", help="Worker processes, kept alive by this one.")
        ] = 1,
        lease: Annotated[
            float | None,
            Parameter(
                validator=Number(gt=0),
                metavar="SECONDS",
                help="Seconds without a heartbeat after which others take its jobs.",
            ),
        ] = None,
        grace: Annotated[
            float | None,
            Parameter(
                validator=Number(gte=0),
                metavar="SECONDS",
                help="Seconds that runs get to end when the worker is stopped.",
            ),
        ] = None,
        max_tasks_per_child: Annotated[
            int | None,
            Parameter(
                validator=Number(gte=1),
                metavar="N",
                help="Jobs after which a child process of a process-mode handler is replaced.",
            ),
        ] = None,
        queue: Annotated[
            list[str] | None,
            Parameter(
                negative=(),
                consume_multiple=False,
                metavar="NAME",
                help="Serve this queue and no other; may be repeated.",
            ),
        ] = None,
        exclude: Annotated[
            list[str] | None,
            Parameter(
                negative=(), consume_multiple=False, metavar="NAME", help="Do not serve this queue; may be repeated."
            ),
        ] = None,
        reload: Annotated[
            bool,
            Parameter(
                negative=(), show_default=False, help="Restart when a Python file below this directory changes (extra)."
            ),
        ] = False,
        log_level: Annotated[
            logs.LogLevel, Parameter(help="The lowest level of remit and run.log; for others: warning.")
        ] = "info",
        log_format: Annotated[logs.LogFormat, Parameter(help="Lines for people, or JSON lines.")] = "text",
    ) -> int:
        """Run jobs until SIGTERM or Ctrl-C: running jobs then may end, and a second signal interrupts them.

        Without --lease and --grace, the values of the application apply: 30 seconds each, by default.
        """
        orders = Orders(
            named(app),
            lease,
            grace,
            log_level,
            log_format,
            processes,
            max_tasks_per_child,
            queues=_names(queue),
            exclude=_names(exclude),
        )
        if reload:
            return reloading(orders, stop)
        if processes == 1 and os.getpid() != 1:
            return serve(orders, stop)
        return _supervise(orders)

    return worker


def _names(given: list[str] | None) -> tuple[str, ...]:
    """Names; one text may hold several, separated by commas, as in an environment variable."""
    return tuple(name.strip() for text in given or () for name in text.split(",") if name.strip())


def _supervise(orders: Orders) -> int:
    """Several workers, or one in a container, whose first process must reap orphans that do not belong to a worker."""
    logs.configure(orders.log_level, orders.log_format, None)

    def arguments(number: int, descriptor: int) -> list[str]:
        told = json.dumps(asdict(replace(orders, number=number)))
        return [sys.executable, "-m", "remit.cli.supervised", told, str(descriptor)]

    return Supervisor(arguments, orders.processes).run()
