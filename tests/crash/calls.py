"""The calls that a process makes on its store, and which of them are struck: every name, on every store that hears it.

A name's first numbers differ in what is done and not yet written; of the later ones, which differ from them in nothing,
some are enough. How many come of some names depends on how work falls into batches. So a table says which numbers are
sure to come, and a test fails when one of those was not struck; and which come most of the time: where one does not,
its test says so, and is skipped.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from remit.db.statements import Dialect


class Tries(NamedTuple):
    """Which numbers of a name are struck: those that must come, and those that may."""

    sure: tuple[int, ...] = (1,)
    perhaps: tuple[int, ...] = ()


ONCE = Tries()
TWICE = Tries((1, 2))


Table: TypeAlias = dict[str, Tries]
Tables: TypeAlias = dict[Dialect, Table]


def _tables(both: Table, *, sqlite: Table, postgres: Table) -> Tables:
    return {"sqlite": both | sqlite, "postgres": both | postgres}


FIRST_LIFE = _tables(
    {
        "store": ONCE,
        "enqueue": ONCE,
        "enqueue_one": TWICE,
        "register": ONCE,
        "beat": ONCE,
        "elect": ONCE,
        "lines": ONCE,
        "held": ONCE,
        "rescue": ONCE,
        "heads": TWICE,
        "claim": Tries((1, 2, 3), perhaps=(6,)),
        "finish": Tries((1, 2, 3, 5), perhaps=(6, 8)),
        "promote": TWICE,
        "begin": TWICE,
        "execute": TWICE,
        "commit": TWICE,
        "resign": ONCE,
        "deregister": ONCE,
        "log": ONCE,
        "final_queues": ONCE,
        "prune": ONCE,
        "prune_beyond": ONCE,
        "prune_kept": ONCE,
    },
    sqlite={"beats": TWICE},  # the worker looks whether it is registered, too: its counter stands in a file
    postgres={"beats": ONCE, "claim": Tries((1, 2, 3), perhaps=(9,))},
)
"""Of the application that sends, and of the worker that comes first."""

SECOND_LIFE = _tables(
    {
        "elect": ONCE,
        "rescue": ONCE,
        "claim": Tries((1, 3)),
        "finish": Tries((1, 2, 3, 5), perhaps=(8,)),
        "begin": TWICE,
        "commit": TWICE,
    },
    sqlite={"start_suspect": TWICE},
    postgres={"start_suspect": Tries((1, 2), perhaps=(3, 5)), "claim": Tries((1, 3), perhaps=(9,))},
)
"""Of the worker that comes after a crash, with suspects among its jobs; what it does like the first is tried there."""

WAY = _tables(
    {
        "publish": ONCE,
        "publish_one": ONCE,
        "lock_subscriptions": ONCE,
        "declare": ONCE,
        "declarations": ONCE,
        "declare_events": ONCE,
        "recognise": ONCE,
        "unknown": ONCE,
        "dispatch": TWICE,
        "release": Tries((1, 2, 3), perhaps=(5,)),
        "lanes": ONCE,
        "claim": TWICE,
        "finish": Tries((1, 2, 3), perhaps=(8,)),
        "commit": ONCE,
        "prune_kept": ONCE,
        "purge_events": TWICE,
        "subscriptions": ONCE,
        "deliveries_by_state": ONCE,
    },
    sqlite={"pending": ONCE},  # where writers exclude each other, the relay looks first
    postgres={},
)
"""On an event's way; what happens to a delivery as to any job is tried with jobs."""

BY_THEMSELVES = frozenset({
    "beat", "beats", "deliveries_by_state", "elect", "final_queues", "held", "lanes", "lines",
    "pending", "promote", "prune", "prune_beyond", "prune_kept", "purge_events", "rescue", "subscriptions",
    "unknown",
})  # fmt: skip
"""Calls of loops and threads that look when they like: a life in which one of them is to be struck waits for it."""

UNSTRUCK = {
    **dict.fromkeys(
        [
            "cancel", "retry", "retry_many", "delete", "delete_many", "purge", "purge_many", "pause",
            "resume", "retire", "retry_event",
            "begin_filling", "note_filling", "next_to_fill", "fill", "end_filling", "cancel_many",
        ],
        "a person's command: no worker's life sends it, and who gave it hears of the error",
    ),
    **dict.fromkeys(
        [
            "get", "list", "failures", "logs", "matching", "between", "count", "failed_attempts",
            "unfinished", "paused", "waiting", "ended", "dead",
            "workers", "leaders", "outbox", "get_event", "list_events", "event_deliveries", "count_log",
            "delivering", "cancellable", "called",
        ],
        "only reads, for people",
    ),
    "fillings": "only reads, for the leader, which goes on with a back-fill that a killed process left",
    "left": "only reads, for who drains a worker",
    "stored": "only read, where an id of the application's own is there already",
    "probe": "only reads, where the answer to an outcome was lost or a handler's own connection wrote it",
    "refuse": "writes nothing: it aborts a transaction whose lease is lost",
    "renew": "comes a third of a term later; it lengthens what runs out by itself",
    "declare_dead": "comes a lease later: here the dead are buried by hand, in tests/faults by other workers",
    "fail": "comes when an event cannot be fanned out, by an error of the store that nothing here has",
    "purge_archive": "comes where events are archived; a batch of it is one statement, as of `purge_events`",
}  # fmt: skip
"""The other statements, and why they are none of these lives."""

NOT_COUNTED = {"renew", "fillings"}
"""What a life calls beside: `renew` if a slow machine draws it out, `fillings` at each election, which only reads."""


def struck(store: Dialect, *lives: Tables) -> set[str]:
    """The names that are struck in some lives."""
    return {name for life in lives for name in life[store]}
