"""What the fault tests of events stand on: a site with the market's workers, and an oracle for events.

The oracle knows what was published and what was delivered from the ledger, and what the store holds by SQL of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remit import Event
from tests.faults.harness import FINAL, ROOT, Site, WorkerProcess, until
from tests.faults.market import domains, market

APPLICATION = "tests.faults.market"
FIVE = ("in-order", "even", "moody", "book", "sender")


@dataclass(frozen=True, slots=True)
class Published:
    """An event as the store holds it, read without remit."""

    id: str
    name: str
    state: str
    seq: int
    payload: str
    deliveries: int | None
    attempts: int
    error: str | None


class Fair(Site):
    """One database, one ledger, workers of any release of the market."""

    domains = tuple(domains)

    def worker(self, **options: Any) -> WorkerProcess:
        return super().worker(application=APPLICATION, **options)

    def publish(self, *events: Event[Any], **options: Any) -> list[str]:
        """Publish, and note it in the ledger once it is committed; answers the ids."""
        published = market.sync.publish_many(events, **options)
        for ref in published:
            self.ledger.write("published", ref.id)
        return [ref.id for ref in published]

    def run(self, script: str, *arguments: str, release: str = "", check: bool = True) -> str:
        """Run Python with an application `app` of some release, in a process of its own; answers what it prints."""
        head = f"import sys\nfrom remit import Remit\nfrom {APPLICATION} import *\n"
        body = f"app = Remit({self.url!r}, domains=domains)\nwith app.sync:\n"
        indented = "".join(f"    {line}\n" for line in script.splitlines())
        environment = {
            **os.environ,
            "FAULTS_URL": self.url,
            "FAULTS_FOLDER": str(self.folder),
            "FAULTS_RELEASE": release,
        }
        done = subprocess.run(
            [sys.executable, "-c", head + body + indented, *arguments],
            cwd=ROOT, env=environment, check=check, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout

    def publishers(self, first: int, count: int, events: int, *, name: str) -> subprocess.Popen[bytes]:
        """Start a process with so many publishers of so many `Sold` each; see `publisher_main`."""
        environment = {**os.environ, "FAULTS_URL": self.url, "FAULTS_FOLDER": str(self.folder)}
        command = [sys.executable, "-m", "tests.faults.publisher_main", str(first), str(count), str(events)]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    # --- looking

    def events(self) -> dict[str, Published]:
        found = self.database.execute(
            "SELECT id, name, state, seq, payload, deliveries, attempts, error FROM remit.event"
            if self.database.is_sqlite
            else "SELECT id::text, name, state, seq, payload, deliveries, attempts, error FROM remit.event"
        )
        return {row[0]: Published(*row) for row in found}

    def subscriptions(self) -> dict[str, tuple[str, int, list[str]]]:
        """By name: the id, the revision, the names that it had."""
        rows = self.database.execute("SELECT id, name, revision, former FROM remit.subscription")
        return {row[1]: (str(row[0]), row[2], json.loads(row[3])) for row in rows}

    def pairs(self) -> Counter[tuple[str, str]]:
        """How many deliveries there are of each event and subscription, by its present name."""
        return Counter((event, by) for event, by, _ in self.all_deliveries())

    def all_deliveries(self) -> list[tuple[str, str, str]]:
        """Event, subscription and state of each delivery: of its job, or of what is left of a job that was pruned."""
        names = {id: name for name, (id, _, _) in self.subscriptions().items()}
        rows = self.database.execute(
            "SELECT event_id, subscription, state FROM remit.job WHERE subscription IS NOT NULL"
            " UNION ALL SELECT event, subscription, state FROM remit.delivery"
        )
        return [(str(event), names[str(subscription)], state) for event, subscription, state in rows]

    def deliveries(self, event: str) -> dict[str, str]:
        """The state of each delivery of an event that is a job."""
        names = {id: name for name, (id, _, _) in self.subscriptions().items()}
        rows = self.database.execute(
            "SELECT subscription, state FROM remit.job WHERE event_id::text = %s AND subscription IS NOT NULL", event
        )
        return {names[str(subscription)]: state for subscription, state in rows}

    def ends(self, by: str) -> Counter[str]:
        """How often the handler of a subscription got to its end, by event."""
        return Counter(line["job"] for line in self.ledger.lines("ended") if line["by"] == by)

    def starts(self, by: str) -> list[str]:
        """The events that a handler started with, in that order."""
        return [line["job"] for line in self.ledger.lines("started") if line["by"] == by]

    # --- waiting

    def await_ends(self, by: str, events: Iterable[str]) -> None:
        """Wait until the handler of a subscription has got to its end with each of these events."""
        wanted = set(events)
        until(lambda: wanted <= self.ends(by).keys(), f"{by} ends with {len(wanted)} events; {self._told()}")

    def await_quiet(self, patience: float = 40.0) -> None:
        """Wait until nothing is left to do: no event to dispatch, no turn to come, no job that has not ended."""
        until(lambda: not self.left(), "nothing is left", patience)

    def left(self) -> dict[str, int]:
        [(events, turns, jobs)] = self.database.execute(
            "SELECT (SELECT count(*) FROM remit.event WHERE state = 'pending'),"
            " (SELECT count(*) FROM remit.turn WHERE NOT released),"
            " (SELECT count(*) FROM remit.job WHERE finished_at IS NULL)"
        )
        return {name: n for name, n in (("events", events), ("turns", turns), ("jobs", jobs)) if n}

    # --- the oracle

    def check_pairs(self, subscribers: dict[str, Sequence[str]]) -> None:
        """Each of these events was delivered to each of these subscriptions by one job, which completed."""
        pairs = self.pairs()
        states = {(event, by): state for event, by, state in self.all_deliveries()}
        for by, events in subscribers.items():
            lost = [event for event in events if pairs[event, by] != 1]
            assert not lost, f"8: {len(lost)} of {len(events)} events have no delivery to {by}: {lost[:3]}"
            found = Counter(states[event, by] for event in events)
            assert found.keys() <= {"completed"}, f"8: deliveries to {by} have ended {found}"

    def check_sales(self) -> Counter[str]:
        """What ten publishers and five subscriptions must have come to."""
        events = {id: event for id, event in self.events().items() if event.name == "market.sold"}
        rolled_back = self.ledger.jobs("rolled back")
        published = self.ledger.jobs("published")
        assert published <= events.keys(), f"8: {len(published - events.keys())} committed events are gone"
        assert not rolled_back & events.keys(), "5: a rolled-back event was published"
        assert events.keys() <= published | self.ledger.jobs("publishing"), "5: an event that nobody published"
        assert not [each for each in events.values() if each.state != "dispatched"], "8: not dispatched"
        wanted = {by: list(events) for by in FIVE}
        wanted["even"] = [id for id, event in events.items() if json.loads(event.payload)["kind"] in ("even", "four")]
        self.check_pairs({f"guild.{by}": ids for by, ids in wanted.items()})
        assert sum(self.pairs().values()) == sum(map(len, wanted.values())), "5: deliveries that nobody wanted"
        ran: defaultdict[str, set[str]] = defaultdict(set)
        for line in self.ledger.lines("started"):
            ran[line["by"]].add(line["job"])
        for by, ids in wanted.items():
            assert ran[by] == set(ids), f"8: {by} has not run all it was given, or more"
        effects = self.database.effects()
        assert effects == Counter(events.keys()), "2: effects inside the database happen exactly once"
        errands = Counter(row.number for row in self.database.rows().values() if row.name == "guild.errand")
        numbers = Counter(json.loads(event.payload)["number"] for event in events.values())
        assert errands == numbers, "5: what a delivery sends is sent exactly once"
        self.check_order(events)
        return Counter(jobs=sum(map(len, wanted.values())), events=len(events), rolled_back=len(rolled_back))

    def check_order(self, events: dict[str, Published]) -> None:
        """Per key, no event is begun before the one that was committed earlier is over, and none after a later one."""
        latest: dict[str, int] = {}
        for id in self.starts("in-order"):
            stall, seq = json.loads(events[id].payload)["stall"], events[id].seq
            assert seq >= latest.get(stall, 0), f"out of order: {stall} at {latest[stall]}, then {seq}"
            latest[stall] = seq
        per_publisher: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for event in sorted(events.values(), key=lambda each: each.seq):
            payload = json.loads(event.payload)
            per_publisher[payload["stall"], payload["number"] // 1_000_000].append(payload["number"])
        for numbers in per_publisher.values():
            assert numbers == sorted(numbers), "numbers of the store are in the order of the commits"

    def check_ended(self) -> None:
        open_rows = [row for row in self.database.rows().values() if row.state not in FINAL]
        assert not open_rows, f"1: not ended: {open_rows[:3]}"
        orphans = [r for r in self.database.rows().values() if r.state == "running"]
        assert not orphans, f"4: running under nobody: {orphans[:3]}"


def logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log")))
