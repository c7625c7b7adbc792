"""Any sequence of publishing, dispatching, delivering, failing, retrying, pruning, purging, retiring and back-filling
leaves the outbox as it leaves the model in plain Python; and whatever the sequence, what was promised holds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from remit.db.opening import open_store
from remit.db.statements import Dialect
from remit.db.transaction import BlockingDatabase, Role, Row, run_blocking
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id, new_token
from remit.jobs.states import Completed, Failed, GaveUp, Outcome, Skipped, State
from remit.outbox import operations as outbox
from remit.runtime import operations as workers
from tests.conformance.desk import BOOM, DAWN, PAID, QUEUE, SECOND, At, a_subscription, an_event, ended, text

KEEP, KINDS = 20.0, ("a", "b")
PLAIN, BLOCKING, PASSING = range(3)
DECLARED: list[dict[str, Any]] = [
    {"line": 1 << 15},
    {"line": 2 << 15, "ordered_by": "key", "on_dead": "block"},
    {"line": 3 << 15, "ordered_by": "key", "on_dead": "pass", "where": {"kind": ["a"]}},
]
OUTCOMES: list[Outcome] = [Completed(), Completed(), Completed(), Skipped("gone"), Failed(BOOM, 0), GaveUp("no", BOOM)]
FINAL = {State.COMPLETED, State.SKIPPED, State.CANCELLED, State.DEAD}

Delivery = tuple[str, int]
"""An event, and the place of a subscription."""


@dataclass
class ModelEvent:
    id: str
    seq: int
    lane: int | None
    kind: str
    due_at: int
    published_at: int
    version: int = 1
    state: str = "pending"
    attempts: int = 0
    dispatched_at: int = 0


@dataclass
class ModelDelivery:
    state: State
    finished_at: int = 0
    deleted: bool = False
    asked: bool = False
    """It runs, and was asked to stop."""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass
class ModelSubscription:
    ordered: bool
    blocks: bool
    kind: str | None
    retired: bool = False
    filling: bool = False
    turns: dict[int, dict[int, tuple[str, bool]]] = field(default_factory=dict)
    """By lane and number: the event, and whether its delivery has begun."""

    def wants(self, event: ModelEvent) -> bool:
        return event.version > 1 or self.kind in (None, event.kind)  # the condition says nothing of version 2

    def has_turn(self, event: ModelEvent) -> bool:
        return event.lane is not None and event.seq in self.turns.get(event.lane, {})


@dataclass
class Model:
    """What the outbox is, without a database."""

    events: dict[str, ModelEvent] = field(default_factory=dict)
    known: set[int] = field(default_factory=lambda: {1})
    """The versions of the event that somebody has declared."""
    jobs: dict[Delivery, ModelDelivery] = field(default_factory=dict)
    left: dict[Delivery, ModelDelivery] = field(default_factory=dict)
    subscriptions: list[ModelSubscription] = field(
        default_factory=lambda: [
            ModelSubscription("ordered_by" in each, each.get("on_dead") == "block", "a" if "where" in each else None)
            for each in DECLARED
        ]
    )

    # --- the relay

    def outstanding(self) -> list[ModelEvent]:
        blocks = any(each.ordered and each.blocks and not each.retired for each in self.subscriptions)
        failed = [
            each
            for each in self.events.values()
            if each.state == "unknown"
            or (each.attempts and (each.state == "pending" or (each.state == "dead" and blocks)))
        ]
        found = [
            event
            for event in self.events.values()
            if event.state == "pending"
            and (event.lane is None or not any(one.lane == event.lane and one.seq < event.seq for one in failed))
        ]
        return sorted(found, key=lambda event: (event.due_at, event.seq))

    def dispatch(self, limit: int, now: int) -> tuple[int, int, int]:
        due = [event for event in self.outstanding() if event.due_at <= now][:limit]
        known = [event for event in due if event.version in self.known]
        outside = [e for e in self.events.values() if e.state == "pending" and e not in known]
        taken = [
            event
            for event in known
            if event.lane is None or not any(one.lane == event.lane and one.seq < event.seq for one in outside)
        ]
        for event in taken:
            for place, each in enumerate(self.subscriptions):
                if not each.retired and each.wants(event) and (event.id, place) not in self.left:
                    self._deliver(event, place)
            event.state, event.dispatched_at, event.due_at = "dispatched", now, now + round(KEEP * SECOND)
        for event in due:
            event.state = event.state if event in known else "unknown"
        return len(due), len(taken), len(due) - len(known)

    def recognise(self) -> int:
        found = [each for each in self.events.values() if each.state == "unknown" and each.version in self.known]
        for event in found:
            event.state = "pending"
        return len(found)

    def _deliver(self, event: ModelEvent, place: int) -> None:
        each = self.subscriptions[place]
        if each.ordered and event.lane is not None:
            each.turns.setdefault(event.lane, {}).setdefault(event.seq, (event.id, False))
        else:
            self.jobs.setdefault((event.id, place), ModelDelivery(State.READY))

    def fail(self, id: str, most: int, delay: int, now: int) -> None:
        event = self.events[id]
        if event.state == "pending":
            event.attempts += 1
            event.due_at = now + delay * SECOND
            event.state = "dead" if event.attempts >= most else "pending"

    def retry_event(self, id: str) -> None:
        event = self.events[id]
        if event.state in ("pending", "dead"):
            event.state, event.attempts, event.due_at = "pending", 0, event.published_at

    # --- order

    def head_has_ended(self, place: int, lane: int) -> bool | None:
        """None where the head has not begun."""
        each = self.subscriptions[place]
        begun = [id for id, released in each.turns[lane].values() if released]
        if not begun:
            return None
        job = self.jobs.get((begun[0], place))
        if job is None:
            return (begun[0], place) in self.left or begun[0] not in self.events
        gone = begun[0] not in self.events
        return gone or (job.is_final and (job.state is not State.DEAD or job.deleted or not each.blocks))

    def lanes(self) -> dict[tuple[int, int], bool]:
        found = {}
        for place, each in enumerate(self.subscriptions):
            for lane in each.turns:
                ended = self.head_has_ended(place, lane)
                found[place, lane] = not each.filling if ended is None else ended
        return found

    def release(self, asked: Sequence[tuple[int, int]]) -> int:
        over = 0
        for place, lane in asked:
            each = self.subscriptions[place]
            turns = each.turns[lane]
            ended = self.head_has_ended(place, lane)
            if ended or (ended is None and each.retired):
                over += 1
                del turns[next(seq for seq in sorted(turns) if turns[seq][1] or ended is None)]
            if ended is not False and turns and not each.filling and not each.retired:
                id, _ = turns[min(turns)]
                turns[min(turns)] = id, True
                self.jobs.setdefault((id, place), ModelDelivery(State.READY))
            if not turns:
                del each.turns[lane]
        return over

    # --- the house

    def fill(self, place: int) -> None:
        each = self.subscriptions[place]
        for event in sorted(self.events.values(), key=lambda event: event.seq):
            key = event.id, place
            had = key in self.left and self.left[key].state in (State.COMPLETED, State.SKIPPED)
            ordered = each.ordered and event.lane is not None
            if event.state == "unknown" or (ordered and event.state != "dispatched"):
                continue
            if each.wants(event) and not had and key not in self.jobs and not each.has_turn(event):
                self.left.pop(key, None)
                self._deliver(event, place)

    def retire(self, place: int) -> None:
        each = self.subscriptions[place]
        each.retired = True
        each.turns = {
            lane: begun
            for lane, turns in each.turns.items()
            if (begun := {seq: turn for seq, turn in turns.items() if turn[1]})
        }

    def cancel(self, place: int, now: int) -> list[State]:
        """What is under way to a retired subscription; the states of those that changed."""
        of = [job for key, job in self.jobs.items() if key[1] == place and self.subscriptions[place].retired]
        found = [job for job in of if not job.is_final and not job.asked]
        for job in found:
            if job.state is State.RUNNING:
                job.asked = True
            else:
                job.state, job.finished_at = State.CANCELLED, now
        return sorted(job.state for job in found)

    def forget(self, key: Delivery) -> None:
        """What is left of a delivery when its job goes."""
        job = self.jobs.pop(key)
        if key[0] in self.events:
            state, at = (job.state, job.finished_at) if job.is_final else (State.CANCELLED, 0)
            self.left[key] = ModelDelivery(state, at)

    def purge(self, again: int, now: int) -> tuple[int, int]:
        due = [e for e in self.events.values() if e.state == "dispatched" and e.due_at <= now]
        gone = 0
        for event in due:
            keys = [(event.id, place) for place in range(3)]
            made = [self.jobs[key] for key in keys if key in self.jobs]
            waits = any(
                each.has_turn(event) and not each.turns[event.lane or 0][event.seq][1] for each in self.subscriptions
            )
            is_open = waits or any(not job.is_final or job.state is State.DEAD for job in made)
            ends = [job.finished_at for job in made] + [self.left[key].finished_at for key in keys if key in self.left]
            over = max([event.dispatched_at, *ends]) + round(KEEP * SECOND)
            if not is_open and over <= now:
                gone += 1
                del self.events[event.id]
                for key in keys:
                    self.left.pop(key, None)
            else:
                event.due_at = max(over, now + again * SECOND) if is_open else over
        return len(due), gone


class Twins:
    """A store and the model, given the same commands."""

    def __init__(self, database: BlockingDatabase, dialect: Dialect) -> None:
        self.database = database
        self.postgres = dialect == "postgres"
        self.model = Model()
        self.now = DAWN
        for table in ("job", "worker", "event", "subscription"):
            self.execute(f"DELETE FROM {{{table}}}")
        self.execute("DELETE FROM {event_type} WHERE version > 1")
        self.identity = self.does(jobs.store)
        self.fillings: dict[int, Any] = {}
        self.names = [f"catalog.n{place}" for place in range(3)]
        rows = [a_subscription(name, **each) for name, each in zip(self.names, DECLARED, strict=True)]
        self.does(outbox.declare, rows, force=False)
        self.ids = [row["id"] for row in rows]
        self.worker = new_id()
        self.does(workers.register, self.worker, host="here", pid=1, about="{}")
        self.held: list[tuple[Claim, Delivery]] = []
        self.versions: dict[str, int] = {}
        self.completions: dict[Delivery, int] = {}
        self.ran: dict[tuple[int, int], int] = {}
        """By subscription and lane: the number of the last event that was run for the first time."""
        self.disturbed: set[tuple[int, int]] = set()
        """Lanes in whose order a person has meddled."""
        self.promised: set[Delivery] = set()

    def does(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        return self.database.run(lambda tx: operation(At(tx, self.now), *args, **kwargs))

    def execute(self, sql: str) -> list[Row]:
        prefix = "remit." if self.postgres else "remit_"
        tables = ("job", "worker", "event", "subscription", "turn", "delivery", "event_type")
        with self.database.session() as session:
            return run_blocking(session.execute(sql.format(**{name: prefix + name for name in tables})))

    # --- commands

    def publish(self, lanes: Sequence[int | None], kind: str, version: int = 1, *, commits: bool = True) -> None:
        said: dict[str, Any] = {"payload": text({"kind": kind}), "version": version}
        rows = [an_event(**said, **({} if lane is None else {"lane": lane})) for lane in lanes]
        if not commits:
            self._publish_and_roll_back(rows)
            return
        self.does(outbox.publish, rows, store=self.identity)
        for row in rows:
            seq = self._seq(row["id"])
            event = ModelEvent(row["id"], seq, row.get("lane"), kind, self.now, self.now, version)
            self.model.events[event.id] = event
            self.versions[event.id] = version

    def _publish_and_roll_back(self, rows: list[dict[str, Any]]) -> None:
        async def fails(tx: Any) -> None:
            await outbox.publish(tx, rows, store=self.identity)
            raise LookupError

        with pytest.raises(LookupError):
            self.does(fails)

    def _seq(self, id: str) -> int:
        [(seq,)] = self.execute(f"SELECT seq FROM {{event}} WHERE id = '{id}'")
        return int(seq)

    def dispatch(self, limit: int) -> None:
        before = {event.id for event in self.model.events.values() if event.state == "pending"}
        done = self.does(outbox.dispatch, limit=limit, keep=KEEP)
        assert (done.seen, done.events, done.unknown) == self.model.dispatch(limit, self.now)
        for event in self.model.events.values():
            if event.id in before and event.state == "dispatched":
                wanting = [place for place, each in enumerate(self.model.subscriptions) if each.wants(event)]
                self.promised |= {(event.id, place) for place in wanting if not self.model.subscriptions[place].retired}

    def release(self, count: int) -> None:
        first = ("00000000-0000-0000-0000-000000000000", -(2**63))
        found = dict(self.does(outbox.lanes, after=first, limit=1000))
        wanted = {(self.ids[place], lane): can for (place, lane), can in self.model.lanes().items()}
        assert found == wanted
        asked = [lane for lane, can in found.items() if can or count % 2][: count + 1]
        _, ended = self.does(outbox.release, asked)
        assert ended == self.model.release([(self.ids.index(id), lane) for id, lane in asked])

    def claim(self, place: int, count: int, outcome: Outcome | None) -> None:
        lines = [int(DECLARED[place]["line"]) | version for version in (1, 2)]
        asked = [Allotment(line, QUEUE, count) for line in lines]
        claims, expired = self.does(execution.claim, asked, worker=self.worker, token=new_token())
        ready = [key for key, job in self.model.jobs.items() if key[1] == place and job.state is State.READY]
        of = Counter(self.versions[key[0]] for key in ready)
        assert (len(claims), expired) == (sum(min(count, of[version]) for version in (1, 2)), [])
        for claim in claims:
            [(event,)] = self.execute(f"SELECT event_id FROM {{job}} WHERE id = '{claim.id}'")
            key = str(event), place
            assert self.model.jobs[key].state is State.READY
            assert (claim.payload is None) == (key[0] not in self.model.events)
            self._check_order(key)
            self.model.jobs[key].state = State.RUNNING
            self.held.append((claim, key))
        for _ in claims if outcome else ():
            self.finish(-1, outcome or Completed())

    def _check_order(self, key: Delivery) -> None:
        id, place = key
        event, each = self.model.events.get(id), self.model.subscriptions[place]
        if event is None or event.lane is None or not each.ordered or (place, event.lane) in self.disturbed:
            return
        lane = place, event.lane
        others = [one for one in self.model.events.values() if one.lane == event.lane and one.id != id]
        under_way = [one for one in others if (job := self.model.jobs.get((one.id, place))) and not job.is_final]
        assert under_way == [], "two of a lane are under way"
        assert event.seq >= self.ran.get(lane, -1), "a lane goes back"
        if each.blocks:
            dead = [one for one in others if (job := self.model.jobs.get((one.id, place))) and job.state is State.DEAD]
            assert all(self.model.jobs[one.id, place].deleted or one.seq > event.seq for one in dead)
        self.ran[lane] = event.seq

    def finish(self, which: int, outcome: Outcome) -> None:
        if not self.held:
            return
        claim, key = self.held.pop(which % len(self.held))
        end = ended(claim, outcome)
        landed = self.does(execution.finish, [end], worker=self.worker, stamp=new_token())
        job = self.model.jobs[key]
        job.state = State.CANCELLED if job.asked and end.transition.delay is not None else end.transition.state
        assert [one.state for one in landed] == [job.state]
        job.finished_at = self.now if job.is_final else 0
        if job.state is State.COMPLETED:
            self.completions[key] = self.completions.get(key, 0) + 1
        self.execute("DELETE FROM {event} WHERE name = 'remit.job-died'")  # another story

    def manage(self, command: str, which: int, place: int, small: int) -> None:
        match command:
            case "wait":
                self.now += small * SECOND
            case "fail" | "retry event" if self.model.events:
                event = sorted(self.model.events.values(), key=lambda one: one.seq)[which % len(self.model.events)]
                self._fail_or_retry(command, event, small)
            case "promote":
                self.does(jobs.promote, limit=1000)
                for job in self.model.jobs.values():
                    job.state = State.READY if job.state is State.SCHEDULED else job.state
            case "cancel" | "retry" | "delete" | "purge job" if self.model.jobs:
                key = sorted(self.model.jobs, key=lambda key: (self._job(key), key))[which % len(self.model.jobs)]
                self._act(command, key)
            case "prune":
                self._prune()
            case "purge":
                found = self.does(outbox.purge_events, keep=KEEP, archive=False, again=5.0, limit=1000)
                assert found == self.model.purge(5, self.now)
            case _:
                self._administer(command, place)

    def _administer(self, command: str, place: int) -> None:
        each = self.model.subscriptions[place]
        match command:
            case "retire":
                self.does(outbox.retire, self.names[place])
                self.model.retire(place)
                self._disturb(place)
            case "know":
                known = [{"name": PAID, "version": 2, "former": []}]
                self.does(outbox.declare, [], known, force=False)
                self.model.known.add(2)
            case "recognise":
                assert self.does(outbox.recognise, limit=1000) == self.model.recognise()
            case "cancel deliveries":
                found = self.does(outbox.cancellable, self.ids[place], limit=1000)
                states = self.does(jobs.cancel_many, found, reason="retired", by=None)
                assert sorted(states) == self.model.cancel(place, self.now)
            case "declare":
                row = a_subscription(self.names[place], **DECLARED[place])
                self.does(outbox.declare, [row], force=True)
                each.retired = False
            case "rename":
                self._rename(place)
            case "hold" if not each.retired:
                self.fillings[place] = self.does(outbox.begin_filling, self.names[place])
                assert self.fillings[place] is not None
                each.filling = True
            case "let go":
                if (filling := self.fillings.pop(place, None)) is not None:
                    self.does(outbox.end_filling, filling)
                each.filling = False
            case "fill":
                self._fill(place)

    def _job(self, key: Delivery) -> int:
        event = self.model.events.get(key[0])
        return event.seq if event else -1

    def _disturb(self, place: int) -> None:
        lanes = {event.lane for event in self.model.events.values() if event.lane is not None}
        self.disturbed |= {(place, lane) for lane in lanes}

    def _fail_or_retry(self, command: str, event: ModelEvent, small: int) -> None:
        if event.lane is not None:
            self.disturbed.add((PASSING, event.lane))
            if command == "retry event":  # a subscription may have come back that would have blocked
                self.disturbed.add((BLOCKING, event.lane))
        if command == "fail":
            self.does(outbox.fail, event.id, error="no", most=2, delay=float(small))
            self.model.fail(event.id, 2, small, self.now)
        else:
            assert self.does(outbox.retry_event, event.id) == event.state
            self.model.retry_event(event.id)

    def _act(self, command: str, key: Delivery) -> None:
        job = self.model.jobs[key]
        [(id,)] = self.execute(
            f"SELECT id FROM {{job}} WHERE event_id = '{key[0]}' AND subscription = '{self.ids[key[1]]}'"
        )
        id = str(id)
        match command:
            case "cancel" if job.state in (State.SCHEDULED, State.READY):
                assert self.does(jobs.cancel, id, reason="no", by=None)[1]
                job.state, job.finished_at = State.CANCELLED, self.now
            case "retry" if job.state in (State.SCHEDULED, State.DEAD, State.CANCELLED, State.SKIPPED):
                assert self.does(jobs.retry, id, token=new_token())[1]
                job.state, job.finished_at, job.deleted, job.asked = State.READY, 0, False, False
                event = self.model.events.get(key[0])
                if event is not None and event.lane is not None:
                    self.disturbed.add((key[1], event.lane))
            case "delete" if job.state is not State.RUNNING:
                assert self.does(jobs.delete, id, purge=False)[1]
                if not job.is_final:
                    job.state, job.finished_at = State.CANCELLED, self.now
                job.deleted = True
            case "purge job" if job.state is not State.RUNNING:
                assert self.does(jobs.delete, id, purge=True)[1]
                self.model.forget(key)

    def _prune(self) -> None:
        for dead in (False, True):
            self.does(jobs.prune, queue=QUEUE, age=3.0, dead=dead, limit=1000)
        old = [key for key, job in self.model.jobs.items() if job.is_final and job.finished_at < self.now - 3 * SECOND]
        for key in old:
            self.model.forget(key)

    def _rename(self, place: int) -> None:
        """By a new worker; and an old one comes after it."""
        if self.model.subscriptions[place].retired:
            return
        old, new = self.names[place], f"{self.names[place]}x"
        renamed = a_subscription(new, aliases=[old], **DECLARED[place])
        assert self.does(outbox.declare, [renamed], force=False) == [(new, "changed")]
        assert self.does(outbox.declare, [a_subscription(old, **DECLARED[place])], force=False) == []
        self.names[place] = new

    def _fill(self, place: int) -> None:
        if self.model.subscriptions[place].retired:
            return
        self._disturb(place)
        after = -1
        while (done := self.does(
            outbox.fill, self.ids[place], [PAID], since=None, until=None, after=after, limit=3
        )).events == 3:  # fmt: skip
            after = done.after
        self.model.fill(place)

    # --- what must hold after each

    def check(self) -> None:
        model = self.model
        events = {
            str(id): (state, attempts)
            for id, state, attempts in self.execute("SELECT id, state, attempts FROM {event}")
        }
        assert events == {event.id: (event.state, event.attempts) for event in model.events.values()}
        rows = self.execute("SELECT event_id, subscription, state FROM {job}")
        assert len(rows) == len(model.jobs)
        assert self._by_delivery(rows) == {key: job.state for key, job in model.jobs.items()}
        rows = self.execute("SELECT event, subscription, state FROM {delivery}")
        assert self._by_delivery(rows) == {key: one.state for key, one in model.left.items()}
        turns = self.execute("SELECT subscription, lane, seq, event, released FROM {turn}")
        assert {(self.ids.index(str(id)), *rest[:2], str(rest[2]), bool(rest[3])) for id, *rest in turns} == {
            (place, lane, seq, id, released)
            for place, each in enumerate(model.subscriptions)
            for lane, of in each.turns.items()
            for seq, (id, released) in of.items()
        }
        self.check_promises()

    def _by_delivery(self, rows: list[Row]) -> dict[Delivery, State]:
        return {(str(event), self.ids.index(str(id))): State(state) for event, id, state in rows}

    def check_promises(self) -> None:
        model = self.model
        assert max(self.completions.values(), default=1) == 1, "delivered twice"
        for id, place in self.promised:
            each, event = model.subscriptions[place], model.events.get(id)
            if event is None or (place, event.lane) in self.disturbed:
                continue
            known = (id, place) in model.jobs or (id, place) in model.left or each.has_turn(event)
            assert known, "a delivery without a state"
        for each in model.subscriptions:
            for turns in each.turns.values():
                assert sum(released for _, released in turns.values()) <= 1


COMMANDS = ["wait", "wait", "wait", "fail", "retry event", "promote", "cancel", "retry", "delete", "purge job", "prune"]
COMMANDS += [
    "prune",
    "purge",
    "purge",
    "retire",
    "cancel deliveries",
    "know",
    "recognise",
    "recognise",
    "declare",
    "rename",
    "hold",
    "let go",
    "fill",
    "fill",
]
lanes = st.lists(st.sampled_from([None, 1, 1, 2]), min_size=1, max_size=4)
places, few = st.integers(0, 2), st.integers(1, 6)


class Commands(RuleBasedStateMachine):
    database: BlockingDatabase
    dialect: Dialect

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins(self.database, self.dialect)

    @initialize(lanes=lanes)
    def something_happens(self, lanes: list[int | None]) -> None:
        self.twins.publish(lanes, "a")

    @rule(
        lanes=lanes,
        kind=st.sampled_from(KINDS),
        version=st.sampled_from([1, 1, 2]),
        commits=st.sampled_from([True, True, True, False]),
    )
    def publish(self, lanes: list[int | None], kind: str, version: int, commits: bool) -> None:
        self.twins.publish(lanes, kind, version, commits=commits)

    @rule(limit=few)
    def dispatch(self, limit: int) -> None:
        self.twins.dispatch(limit)

    @rule(count=st.integers(0, 5))
    def release(self, count: int) -> None:
        self.twins.release(count)

    @rule(place=places, count=few, outcome=st.sampled_from([None, *OUTCOMES]))
    def deliver(self, place: int, count: int, outcome: Outcome | None) -> None:
        self.twins.claim(place, count, outcome)

    @rule(which=st.integers(0, 9), outcome=st.sampled_from(OUTCOMES))
    def finish(self, which: int, outcome: Outcome) -> None:
        self.twins.finish(which, outcome)

    @rule(command=st.sampled_from(COMMANDS), which=st.integers(0, 20), place=places, small=st.integers(0, 25))
    def manage(self, command: str, which: int, place: int, small: int) -> None:
        self.twins.manage(command, which, place, small)

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.twins.check()


def explore(url: str, examples: int) -> None:
    store = open_store(url)
    database = store.blocking(Role.CLIENT)
    machine = type("Machine", (Commands,), {"database": database, "dialect": store.dialect})
    quick = settings(max_examples=examples, stateful_step_count=40, suppress_health_check=list(HealthCheck))
    try:
        run_state_machine_as_test(machine, settings=quick)
    finally:
        database.close()


def test_the_outbox_of_sqlite_is_as_the_model(empty_sqlite: str) -> None:
    explore(empty_sqlite, 40)


def test_the_outbox_of_postgres_is_as_the_model(empty_postgres: str) -> None:
    explore(empty_postgres, 20)


# --- long walks


def walk(url: str, seed: int, steps: int) -> None:
    store = open_store(url)
    database = store.blocking(Role.CLIENT)
    chance = random.Random(seed)
    twins = Twins(database, store.dialect)
    try:
        for _ in range(steps):
            match chance.choices(["publish", "dispatch", "release", "deliver", "finish", "manage"], [3, 3, 5, 5, 2, 3])[
                0
            ]:
                case "publish":
                    some = chance.choices([None, 1, 2, 3], k=chance.randint(1, 3))
                    version = chance.choice([1, 1, 1, 2])
                    twins.publish(some, chance.choice(KINDS), version, commits=chance.random() < 0.9)
                case "dispatch":
                    twins.dispatch(chance.randint(1, 8))
                case "release":
                    twins.release(chance.randint(0, 9))
                case "deliver":
                    twins.claim(chance.randint(0, 2), chance.randint(1, 5), chance.choice([None, *OUTCOMES]))
                case "finish":
                    twins.finish(chance.randint(0, 9), chance.choice(OUTCOMES))
                case _:
                    small = chance.randint(0, 5)
                    twins.manage(chance.choice(COMMANDS), chance.randint(0, 50), chance.randint(0, 2), small)
            twins.check()
    finally:
        database.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_long_walk_of_events_on_sqlite(empty_sqlite: str, seed: int) -> None:
    walk(empty_sqlite, seed, 400)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_walk_of_events_on_postgres(empty_postgres: str, seed: int) -> None:
    walk(empty_postgres, seed, 300)
