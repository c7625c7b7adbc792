"""`remit subscriptions`: who listens to what, what is under way to them; retire one whose code is gone."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from remit.cli import records
from remit.cli.applications import opened, split
from remit.cli.asking import confirm
from remit.cli.exits import UsageError
from remit.cli.options import AppPath, AsJson, Yes
from remit.cli.output import say, tell
from remit.cli.views.subscriptions import pending, subscription_sheet, subscription_table
from remit.cli.wording import count
from remit.outbox.model import SubscriptionRecord

group = App(name="subscriptions", help="List subscriptions, show one, retire one.", help_epilogue="")

Names = Annotated[str, Parameter(name="NAME", help="The whole name, e.g. catalog.unlock-downloads.")]


@group.command(name="list", usage="Usage: remit subscriptions list [APP] [OPTIONS]")
def list_(app: AppPath = None, *, json: AsJson = False) -> None:
    """List every subscription in the database, with its deliveries that are under way or dead."""
    with opened(app) as (_, face):
        found = face.subscriptions.list()
    if json:
        tell({"subscriptions": [records.subscription(each) for each in found]})
    elif found:
        say(subscription_table(found))
    else:
        say("no subscriptions: `remit migrate` enters those that the application declares, and so does a worker")


@group.command(usage="Usage: remit subscriptions show [APP] NAME [OPTIONS]")
def show(*name: Names, app: AppPath = None, json: AsJson = False) -> None:
    """Show all that is known about one subscription."""
    path, wanted = _one(name, app)
    with opened(path) as (_, face):
        found = face.subscriptions.get(wanted)
    if json:
        tell(records.subscription(found))
    else:
        say(subscription_sheet(found))


@group.command(usage="Usage: remit subscriptions retire [APP] NAME [OPTIONS]")
def retire(*name: Names, app: AppPath = None, yes: Yes = False, json: AsJson = False) -> None:
    """Deliver nothing more to a subscription whose code is gone for good.

    What is under way stays; turns of an ordered subscription that have not begun go.
    """
    path, wanted = _one(name, app)
    with opened(path) as (_, face):
        found = face.subscriptions.get(wanted)
        if not yes:
            confirm(_question(found), refusal=f"{found.name} was not retired")
        dropped = face.subscriptions.retire(found.name)
        left = face.subscriptions.get(found.name)
    under_way, dead = pending(left, "scheduled", "ready", "running"), pending(left, "dead")
    if json:
        tell({"retired": left.name, "turns_dropped": dropped, "under_way": under_way, "dead": dead})
        return
    gone = f"; {count(dropped, 'turn')} that had not begun {'is' if dropped == 1 else 'are'} gone" if dropped else ""
    say(f"{left.name} retired{gone}")
    for state in ("scheduled", "ready", "running", "dead"):
        if number := pending(left, state):
            say(f"left: {count(number, f'{state} delivery', f'{state} deliveries')}: {_look(left, state)}")
    if under_way and not left.declared:
        say("no worker that lacks its handler runs them: cancel or delete them as jobs")


def _one(words: tuple[str, ...], app: str | None) -> tuple[str, str]:
    path, names = split(words, app, "the name of a subscription")
    if len(names) > 1:
        raise UsageError(f"one subscription at a time, not {', '.join(names)}")
    return path, names[0]


def _look(subscription: SubscriptionRecord, state: str) -> str:
    return f"remit jobs list --job {subscription.name} --state {state}"


def _question(found: SubscriptionRecord) -> str:
    """What is asked says what is at stake."""
    declared = " This application still declares it, and `remit migrate` brings it back." if found.declared else ""
    turns = pending(found, "waiting")
    whose = "that waits for its turn" if turns == 1 else "that wait for their turns"
    lost = f", and drop {count(turns, 'delivery', 'deliveries')} {whose}" if turns else ""
    return f"Deliver nothing more to {found.name}{lost}?{declared}"
