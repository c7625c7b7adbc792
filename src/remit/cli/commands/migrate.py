"""`remit migrate`: update the database to the schema of this release, and to the application's subscriptions."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from remit import schema
from remit.cli.applications import named, naming
from remit.cli.exits import UsageError
from remit.cli.loading import load
from remit.cli.options import AppPath, AsJson
from remit.cli.output import say, tell
from remit.cli.wording import count
from remit.db.store import Store


def migrate(
    app: AppPath = None,
    *,
    sql: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Print the SQL instead of running it, for a DBA.")
    ] = False,
    since: Annotated[
        int | None,
        Parameter(help="With --sql: from this version on, without asking the database; 0 is an empty one."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Update the database to the schema of this release, and enter the application's subscriptions.

    Safe at any time and from any number of places at once; the schema changes in one transaction, or not at all.
    """
    path = named(app)
    if since is not None and not sql:
        raise UsageError("--since needs --sql: without it, all missing steps are run")
    application = load(path)
    store = application.store
    if sql:
        _print(store, since)
        return
    steps = [f"{step.version:04d} {step.name}" for step in schema.migrate(store)]
    with naming(path):
        schema.check(store)  # a database that is newer than this release
    if not json:
        _say_each(steps)
    subscriptions = application.sync.migrate()  # the schema is complete by now
    version = schema.latest(store.dialect)
    if json:
        changes = [dict(zip(("subscription", "change"), text.split()[1:], strict=True)) for text in subscriptions]
        tell({
            "store": store.describe(), "schema_version": version, "applied": steps, "subscriptions": changes,
        })  # fmt: skip
        return
    _say_each(subscriptions)
    done = [count(len(steps), "migration") + " applied"] if steps else []
    done += [count(len(subscriptions), "subscription") + " entered or changed"] if subscriptions else []
    say(f"{store.describe()}: {', '.join(done) or 'nothing to do'}, schema version {version}")


def _say_each(texts: list[str]) -> None:
    for text in texts:
        say(text)


def _print(store: Store, since: int | None) -> None:
    present = since if since is not None else store.schema_version() or 0
    latest = schema.latest(store.dialect)
    if present >= latest:
        print(f"-- Nothing to run: the schema is at version {present}, this release needs {latest}.")
    else:
        print(f"-- remit: {store.dialect}, from schema version {present} to {latest}.")
        print(schema.script(store, since=present), end="")
