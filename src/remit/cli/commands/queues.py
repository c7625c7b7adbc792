"""`remit queues`: the jobs of each queue; pause and resume."""

from __future__ import annotations

from cyclopts import App
from rich.text import Text

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import opened, split, whoever
from remit.cli.exits import QueueNotFound
from remit.cli.options import AppPath, AsJson, By, QueueNames, Window
from remit.cli.output import say, tell
from remit.cli.views.queues import queue_table
from remit.client.queues import no_queue

group = App(name="queues", help="List queues, pause and resume them.", help_epilogue="")


@group.command(name="list", usage="Usage: remit queues list [APP] [OPTIONS]")
def list_(app: AppPath = None, *, window: Window = 60.0, json: AsJson = False) -> None:
    """List every queue that is declared or has jobs."""
    with opened(app) as (_, face):
        found = face.queues.list(window=window)
    if json:
        tell({"queues": [records.queue(each) for each in found]})
    elif found:
        say(queue_table(found))
    else:
        say("no queues: no domain of this application declares a job")


@group.command(usage="Usage: remit queues pause [APP] QUEUE... [OPTIONS]")
def pause(*queues: QueueNames, app: AppPath = None, by: By = None, json: AsJson = False) -> None:
    """Stop claiming from queues; running jobs continue."""
    path, names = split(queues, app, "the name of a queue")
    with opened(path) as (_, face):
        _check(face, names)
        for name in names:
            face.queues.pause(name, by=by or whoever())
    _report(names, "paused", json)


@group.command(usage="Usage: remit queues resume [APP] QUEUE... [OPTIONS]")
def resume(*queues: QueueNames, app: AppPath = None, json: AsJson = False) -> None:
    """Claim from queues again."""
    path, names = split(queues, app, "the name of a queue")
    with opened(path) as (_, face):
        _check(face, names)
        resumed = [name for name in names if face.queues.resume(name)]
    _report(resumed, "resumed", json)
    if not json:
        for name in names:
            if name not in resumed:
                say(f"{name} was not paused")


def _check(face: SyncRemit, names: list[str]) -> None:
    """Check all names before anything is done. Raises `QueueNotFound`."""
    known = {record.name for record in face.queues.list()}
    for name in names:
        if name not in known:
            raise QueueNotFound(no_queue(name, known))


def _report(names: list[str], what: str, json: bool) -> None:
    if json:
        tell({what: names})
        return
    for name in names:
        say(Text.assemble(name, " ", (what, "bold")))
