"""An application with a direct rail, and a process that sends on it; the tests of the rail use both."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from remit import Domain, Event, Rail, Remit


class Sales(Domain):
    """The sender of these tests."""


sales = Sales()


class Sold(Event[Sales]):
    number: int
    text: str = ""


class Moved(Event[Sales], ordered_by="parcel"):
    parcel: str
    number: int


def connect(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0], isolation_level=None)
    return psycopg.connect(url, autocommit=True)


def execute(url: str, *statements: str) -> list[Any]:
    """Run statements that say `remit_event` on either store; the rows of the last."""
    rows: list[Any] = []
    with closing(connect(url)) as connection:
        for statement in statements:
            text = statement if url.startswith("sqlite") else statement.replace("remit_event", "remit.event")
            cursor = connection.execute(text)
            rows = cursor.fetchall() if cursor.description else []
    return rows


def written(url: str) -> list[Any]:
    """The numbers of the events in the store, in its order."""
    return [json.loads(payload)["number"] for [payload] in execute(url, "SELECT payload FROM remit_event ORDER BY seq")]


@contextmanager
def away(url: str) -> Iterator[None]:
    """The store takes no event, and says so."""
    sqlite = url.startswith("sqlite")
    here, there = ("remit_event", "remit_gone") if sqlite else ("remit.event", "gone")
    back = "remit_event" if sqlite else "event"
    execute(url, f"ALTER TABLE {here} RENAME TO {there}")
    try:
        yield
    finally:
        execute(url, f"ALTER TABLE {'remit_gone' if sqlite else 'remit.gone'} RENAME TO {back}")


def main(kind: str, url: str) -> None:
    """A process that sends: `exit` never closes its application, `endless` tells what it flushed until it is killed."""
    Remit(url, domains=[sales], rail=Rail(linger=0.02 if kind == "endless" else 60, max_wait=2))
    if kind == "fork":
        return forking()
    if kind == "exit":
        for number in range(3):
            sales.sync.publish_soon(Sold(number=number))
        return None
    number = 0
    while True:
        for _ in range(50):
            sales.sync.publish_soon(Sold(number=number))
            number += 1
        print("taken", number, flush=True)
        if number % 500 == 0:
            sales.sync.flush()
            print("flushed", number, flush=True)


def forking() -> None:
    for number in range(3):
        sales.sync.publish_soon(Sold(number=number))
    child = os.fork()
    if child == 0:
        sales.sync.flush()  # has nothing to wait for
        sales.sync.publish_soon(Sold(number=100))
        sales.sync.flush()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("child ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
