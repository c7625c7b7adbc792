"""`remit subscriptions`: subscriptions and their deliveries; retire one whose code was removed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from remit.app import SyncRemit
from remit.cli import records
from remit.cli.applications import opened, split, whoever
from remit.cli.asking import confirm
from remit.cli.bars import bar
from remit.cli.exits import UsageError
from remit.cli.options import AppPath, AsJson, By, Yes
from remit.cli.output import say, tell
from remit.cli.views.subscriptions import pending, subscription_sheet, subscription_table
from remit.cli.wording import count
from remit.outbox.model import Retirement, SubscriptionRecord

group = App(name="subscriptions", help="List subscriptions, show one, retire one.", help_epilogue="")

UNDER_WAY = ("scheduled", "ready", "running")

Names = Annotated[str, Parameter(name="NAME", help="The full name, e.g. catalog.unlock-downloads.")]


@group.command(name="list", usage="Usage: remit subscriptions list [APP] [OPTIONS]")
def list_(app: AppPath = None, *, json: AsJson = False) -> None:
    """List every subscription in the database, with its open and dead deliveries."""
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
    """Show the details of one subscription."""
    path, wanted = _one(name, app)
    with opened(path) as (_, face):
        found = face.subscriptions.get(wanted)
    if json:
        tell(records.subscription(found))
    else:
        say(subscription_sheet(found))


@group.command(usage="Usage: remit subscriptions retire [APP] NAME [OPTIONS]")
def retire(
    *name: Names,
    app: AppPath = None,
    cancel: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Cancel open deliveries; ask running ones to stop."),
    ] = False,
    by: By = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Stop deliveries to a subscription whose code was removed for good.

    Turns of an ordered subscription that have not begun are dropped. Open deliveries stay, unless --cancel is given:
    then their events complete, and are purged in time. --cancel can also be given later.
    """
    path, wanted = _one(name, app)
    with opened(path) as (_, face):
        found = face.subscriptions.get(wanted)
        if not yes:
            confirm(_question(found, cancel), refusal=f"{found.name} was not retired")
        done = _cancelled(face, found, by or whoever()) if cancel else face.subscriptions.retire(found.name)
        left = face.subscriptions.get(found.name)
    under_way = pending(left, *UNDER_WAY)
    if json:
        tell({"retired": left.name, **records.retirement(done), "under_way": under_way, "dead": pending(left, "dead")})
        return
    say("; ".join([f"{left.name} retired", *_did(done)]))
    for state in (*UNDER_WAY, "dead"):
        if number := pending(left, state):
            say(f"left: {_deliveries(number, state)}: {_look(left, state)}")
    if under_way and not cancel and not left.declared:
        cancels = f"`remit subscriptions retire {left.name} --cancel` cancels them"
        say(f"no worker that lacks its handler runs them: {cancels}")


def _cancelled(face: SyncRemit, found: SubscriptionRecord, by: str) -> Retirement:
    with bar("cancelling", pending(found, *UNDER_WAY)) as told:
        return face.subscriptions.retire(found.name, cancel=True, by=by, progress=lambda done: told(done, None))


def _did(done: Retirement) -> list[str]:
    """The effects of the retirement on deliveries."""
    gone = f"{count(done.turns, 'turn')} that had not begun {'is' if done.turns == 1 else 'are'} gone"
    cancelled = f"{count(done.cancelled, 'delivery', 'deliveries')} cancelled"
    asked = f"{_deliveries(done.asked_to_stop, 'running')} asked to stop"
    happened = ((done.turns, gone), (done.cancelled, cancelled), (done.asked_to_stop, asked))
    return [words for number, words in happened if number]


def _deliveries(number: int, state: str) -> str:
    return count(number, f"{state} delivery", f"{state} deliveries")


def _one(words: tuple[str, ...], app: str | None) -> tuple[str, str]:
    path, names = split(words, app, "the name of a subscription")
    if len(names) > 1:
        raise UsageError(f"one subscription at a time, not {', '.join(names)}")
    return path, names[0]


def _look(subscription: SubscriptionRecord, state: str) -> str:
    return f"remit jobs list --job {subscription.name} --state {state}"


def _question(found: SubscriptionRecord, cancel: bool) -> str:
    """The question, with the consequences."""
    declared = " This application still declares it, and `remit migrate` restores it." if found.declared else ""
    acts = [f"Deliver nothing more to {found.name}"]
    if turns := pending(found, "waiting"):
        whose = "that waits for its turn" if turns == 1 else "that wait for their turns"
        acts.append(f"drop {count(turns, 'delivery', 'deliveries')} {whose}")
    if cancel and (under_way := pending(found, *UNDER_WAY)):
        acts.append(f"cancel {count(under_way, 'delivery', 'deliveries')} under way")
    *first, last = acts
    return f"{', '.join(first)}, and {last}?{declared}" if first else f"{last}?{declared}"
