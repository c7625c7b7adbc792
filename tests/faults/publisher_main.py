"""Publishers as `python -m tests.faults.publisher_main FIRST COUNT EVENTS` runs them: one thread each.

Each publishes its events in transactions of its own, and rolls back every ninth. It takes up where a publisher of its
number was killed; its ids say what it meant to publish, so that the oracle knows it even then.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import psycopg

from remit import Remit
from tests.faults.application import folder
from tests.faults.ledger import Ledger
from tests.faults.market import Sold, domains, market

STALLS = 8


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    if url.startswith("sqlite"):
        with contextlib.closing(
            sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)
        ) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            yield db
    else:
        with psycopg.connect(url, autocommit=True) as db:
            yield db


def publish_all(url: str, publisher: int, events: int) -> None:
    ledger = Ledger(folder())
    done = {line["job"] for what in ("published", "rolled back") for line in ledger.lines(what)}
    with connected(url) as db:
        for n in range(events):
            number = publisher * 1_000_000 + n
            id = str(uuid5(NAMESPACE_OID, f"sold {number}"))
            if id in done:
                continue
            sold = Sold(number=number, stall=f"stall-{n % STALLS}", kind=["odd", "even", "odd", "four"][n % 4])
            rolls_back = n % 9 == 8
            if not rolls_back:
                ledger.write("publishing", id)
            db.execute("BEGIN IMMEDIATE" if url.startswith("sqlite") else "BEGIN")
            market.sync.publish(sold, id=id, tx=db)
            db.execute("ROLLBACK" if rolls_back else "COMMIT")
            ledger.write("rolled back" if rolls_back else "published", id)


def main() -> None:
    first, count, events = (int(argument) for argument in sys.argv[1:])
    url = os.environ["FAULTS_URL"]
    failures: list[BaseException] = []

    def tried(publisher: int) -> None:
        try:
            publish_all(url, publisher, events)
        except BaseException as error:
            failures.append(error)
            raise

    with Remit(url, domains=domains).sync:
        threads = [threading.Thread(target=tried, args=[publisher]) for publisher in range(first, first + count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
