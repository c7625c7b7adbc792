"""`remit workers`: the workers and the leader."""

from __future__ import annotations

from cyclopts import App

from remit.cli import records
from remit.cli.applications import opened
from remit.cli.options import AppPath, AsJson
from remit.cli.output import say, tell
from remit.cli.views.workers import worker_table

group = App(name="workers", help="List workers.", help_epilogue="")


@group.command(name="list", usage="Usage: remit workers list [APP] [OPTIONS]")
def list_(app: AppPath = None, *, json: AsJson = False) -> None:
    """List every registered worker. A dead one is listed until another one has noticed."""
    with opened(app) as (_, face):
        found, leaders = face.workers.list(), face.workers.leaders()
    if json:
        tell(
            {"workers": [records.worker(each) for each in found], "leaders": [records.leader(each) for each in leaders]}
        )
    elif found:
        say(worker_table(found, leaders))
    else:
        say("no workers: start one with `remit worker`")
