"""The oracle: what must hold after a storm, judged from outside by the ledger, the audit and the tables.

It is a function of the evidence alone, so that tampered evidence shows whether it sees. The numbers:

1 nothing committed is lost, and each job ends once · 2 effects inside the database happen once · 3 one holder at a time
4 nothing runs under nobody · 5 a transaction leaves all or nothing · 8 every event reaches every subscription
9 attempts are charged for failures alone · 10 a dead letter is whole
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from remit.jobs.states import FINAL, MOVES, Command
from tests.chaos import audit
from tests.chaos.audit import EventMove, Move
from tests.faults.harness import Row, Site

SENDS: Final = frozenset({"effect", "by hand", "send"})
EFFECTS: Final = frozenset({"effect", "by hand"})
ALLOWED: Final = frozenset(
    (was.value, becomes.value)
    for moves in MOVES.values()
    for was, all_becomes in moves.items()
    for becomes in all_becomes
)
"""Every change of state that some command makes."""
BY_HAND: Final = frozenset((was.value, "ready") for was in MOVES[Command.RETRY])
ENDED: Final = frozenset(state.value for state in FINAL)
GRINDS: Final = frozenset({"mill.grind", "mill.grind-in-thread", "mill.grind-in-process"})


@dataclass(frozen=True)
class Evidence:
    """All that is known of a storm when it is over."""

    rows: dict[str, Row]
    moves: tuple[Move, ...]
    events: tuple[EventMove, ...]
    lines: tuple[dict[str, Any], ...]
    effects: Counter[str]
    business: frozenset[str]
    subscriptions: dict[str, str]
    """Name by id."""

    @classmethod
    def of(cls, site: Site) -> Evidence:
        """Read it all."""
        database = site.database
        subscriptions = database.execute("SELECT id, name FROM remit.subscription")
        return cls(
            database.rows(),
            audit.moves(database),
            audit.event_moves(database),
            tuple(site.ledger.lines()),
            database.effects(),
            frozenset(row[0] for row in database.execute("SELECT id FROM business")),
            {str(id): name for id, name in subscriptions},
        )

    def ledger(self, what: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        return [line for line in self.lines if line["what"] == what]


def judge(evidence: Evidence) -> list[str]:
    """Every breach of an invariant, in words that begin with its number."""
    histories: defaultdict[str, list[Move]] = defaultdict(list)
    for move in evidence.moves:
        histories[move.job].append(move)
    return [
        *_transitions(evidence, histories),
        *_tokens(histories),
        *_attempts(evidence, histories),
        *_sent(evidence, histories),
        *_completed(evidence, histories),
        *_deaths(evidence, histories),
        *_events(evidence),
        *_deliveries(evidence, histories),
        *_order(evidence),
        *_operator(evidence, histories),
    ]


def _transitions(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """Each change of a state is a command's, none is missing, and the last one is what the table says."""
    for job, history in histories.items():
        for before, after in pairwise([None, *history]):
            assert after is not None
            state = before.becomes if before is not None else None
            if after.was != state:
                yield f"1: {job} was {state}, and goes from {after.was} to {after.becomes}"
            changes = after.op == "UPDATE" and after.was != after.becomes
            if changes and (after.was, after.becomes) not in ALLOWED:
                yield f"1: no command takes {job} from {after.was} to {after.becomes}"
            if after.op == "DELETE" and after.was == "running":
                yield f"1: {job} was removed while it ran"
        row, last = evidence.rows.get(job), history[-1]
        if (row.state if row else None) != last.becomes:
            yield f"1: {job} is {row.state if row else 'gone'}, and the last that happened to it is {last}"
    for job, row in evidence.rows.items():
        if job not in histories:
            yield f"1: {job} is in the store, and nothing ever happened to it"
        if row.state not in ENDED:
            yield f"{4 if row.state == 'running' else 1}: {job} has not ended: {row}"


def _tokens(histories: dict[str, list[Move]]) -> Iterator[str]:
    """A claim, the end of a run, and a retry by hand write a new token; while one worker holds a job, no other does."""
    for job, history in histories.items():
        used: set[int | None] = set()
        for move in history:
            hands = "running" in (move.was, move.becomes) or (move.was, move.becomes) in BY_HAND - {
                ("scheduled", "ready")
            }
            if move.op == "UPDATE" and hands and move.was != move.becomes and move.token == move.was_token:
                yield f"3: {job} went from {move.was} to {move.becomes} under the same token"
            if move.was == move.becomes == "running" and (move.worker, move.token) != (move.was_worker, move.was_token):
                yield f"3: {job} passed from {move.was_worker} to {move.worker} while it ran"
            if move.becomes == "running" and move.was != "running":
                if move.token in used:
                    yield f"3: {job} was claimed twice under one token"
                used.add(move.token)


def _attempts(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """One attempt for each failed run, none for anything else, and all of them given back by a retry by hand."""
    for job, history in histories.items():
        charged = letters = 0
        for move in history:
            if move.op == "INSERT":  # a delivery that was purged may be made again by a back-fill
                charged = letters = 0
            if move.failures is None or move.was_failures is None:
                continue
            change = move.failures - move.was_failures
            is_retry = (move.was, move.becomes) in BY_HAND and move.failures == 0 and move.token != move.was_token
            if change == 1 and move.was == "running" and move.becomes in ("scheduled", "ready", "dead", "cancelled"):
                charged += 1
                letters += move.becomes == "dead" and _step(history[0], move) == "dead"  # has a reason, and no error
            elif change and not is_retry:
                yield f"9: {job} went from {move.was} to {move.becomes} with {change:+} attempts"
        row = evidence.rows.get(job)
        if row is not None and not charged - letters <= row.errors <= charged:
            yield f"9: {job} was charged {charged} attempts, and has {row.errors} failures"
        if row is not None and row.failures > row.attempts:
            yield f"9: more attempts than it has: {row}"


def _sent(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """What was committed is there, what was rolled back is not, and neither is what nobody sent."""
    inserted = {job for job, history in histories.items() if history[0].op == "INSERT"}
    published = {move.event for move in evidence.events if move.op == "INSERT"}
    there = inserted | published
    intended = {line["job"]: line for line in evidence.ledger("intend")}
    for line in evidence.ledger("sent"):
        if line["job"] not in there:
            yield f"1: {line['job']} was committed, and is not in the store"
    for line in evidence.ledger("rolled back"):
        if line["job"] in there:
            yield f"5: {line['job']} was rolled back, and is in the store"
    for id, line in intended.items():
        if line["with_business"] and (id in there) != (id in evidence.business):
            yield f"5: {id} is{'' if id in there else ' not'} in the store, unlike what was written with it"
    numbers = {line["job"] for line in evidence.ledger("numbered")}
    for job in inserted - intended.keys():
        first = histories[job][0]
        number = str(json.loads(first.payload or "{}").get("number"))
        if first.causation is None and first.event is None and number not in numbers:
            yield f"5: {job} is in the store, and was never sent: {first.name}"
    for move in evidence.events:
        if move.op == "INSERT" and move.event not in intended and move.causation is None:
            yield f"5: {move.event} is in the store, and was never published: {move.name}"


def _completed(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """What a run writes and sends is there once if it completed, and not at all if it did not."""
    started = {line["job"] for line in evidence.ledger("started")}
    children = Counter(move.causation for move in evidence.moves if move.op == "INSERT" and move.name == "mill.sweep")
    facts = Counter((move.causation, move.name) for move in evidence.events if move.op == "INSERT")
    known: set[str] = set()
    for job, history in histories.items():
        ends = [move for move in history if move.becomes == "completed" and move.was != "completed"]
        if len(ends) > 1:
            yield f"2: {job} has completed {len(ends)} times"
        name = history[0].name
        if name == "town.book":
            known.add(job)
            if evidence.effects[job] != len(ends):
                yield f"2: {job} has completed {len(ends)} times, with {evidence.effects[job]} effects"
        if name not in GRINDS:
            continue
        known.add(job)
        step = _step(history[0], ends[0]) if ends else ""
        if ends and job not in started:
            yield f"2: {job} is completed, and never started"
        if evidence.effects[job] != (step in EFFECTS):
            yield f"2: {job} ended by {step or 'no completion'}, with {evidence.effects[job]} effects"
        for what, count in (
            ("jobs", children[job]),
            ("plain events", facts[job, "mill.milled"]),
            ("ordered events", facts[job, "mill.weighed"]),
        ):
            if count != (step in SENDS):
                yield f"5: {job} ended by {step or 'no completion'}, and has sent {count} {what}"
    for job in evidence.effects.keys() - known:
        yield f"5: an effect of {job}, which does not exist"


def _step(first: Move, end: Move) -> str:
    """What the run that completed a job did: see `application.step`."""
    plan = json.loads(first.payload or "{}").get("plan", ["return"])
    return str(plan[min((end.was_failures or 0) + 1, len(plan)) - 1])


def _deaths(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """A dead letter has its reason and its payload, byte for byte; each death is an event."""
    died = Counter(m.causation for m in evidence.events if m.op == "INSERT" and m.name == "remit.job-died")
    for job, history in histories.items():
        deaths = sum(move.becomes == "dead" and move.was != "dead" for move in history)
        if history[0].name != "mill.mourner" and died[job] != deaths:
            yield f"8: {job} has died {deaths} times, and {died[job]} events say so"
        row = evidence.rows.get(job)
        if row is None:
            continue
        if row.state == "dead" and not row.reason:
            yield f"10: dead without a reason: {row}"
        if row.payload != history[0].payload:
            yield f"10: the payload of {job} has changed"


def _events(evidence: Evidence) -> Iterator[str]:
    """Every event was dispatched, once."""
    states: dict[str, str | None] = {}
    for move in evidence.events:
        if move.op == "UPDATE" and move.was == "dispatched":
            yield f"8: {move.event} was dispatched, and becomes {move.becomes}"
        states[move.event] = move.becomes
    for event, state in states.items():
        if state not in ("dispatched", None):
            yield f"8: {event} is {state}"


def _deliveries(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """Every event has one delivery to each subscription that wants it, which has run if it is completed."""
    made: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for job, history in histories.items():
        first = history[0]
        if first.event is not None and first.subscription is not None:
            made[first.event, evidence.subscriptions[first.subscription]].append(job)
    delivered = {(line["job"], f"town.{line['by']}") for line in evidence.ledger("delivered")}
    delivered |= {(line["job"], "mill.mourner") for line in evidence.ledger("mourned")}
    for move in evidence.events:
        if move.op != "INSERT":
            continue
        payload = json.loads(move.payload or "{}")
        for by in _wanted_by(move.name, payload):
            jobs = made.pop((move.event, by), [])
            if len(jobs) > 1:
                yield f"8: {move.event} has {len(jobs)} deliveries to {by}"
            if not jobs and by != "town.doomed":  # it was retired meanwhile
                yield f"8: {move.event} has no delivery to {by}"
            for job in jobs:
                subject = payload["job"] if by == "mill.mourner" else move.event
                if any(each.becomes == "completed" for each in histories[job]) and (subject, by) not in delivered:
                    yield f"8: {move.event} was delivered to {by} by {job}, which never ran"
    for event, by in made:
        yield f"5: {by} was given {event}, which it does not want or nobody published"


def _wanted_by(name: str, payload: dict[str, Any]) -> list[str]:
    match name:
        case "mill.milled":
            return ["town.crier", "town.doomed", *(["town.picky"] if payload["kind"] == "sent" else [])]
        case "mill.weighed":
            return ["town.book"]
        case "remit.job-died" if payload["name"] in GRINDS:
            return ["mill.mourner"]
        case _:
            return []


def _order(evidence: Evidence) -> Iterator[str]:
    """Of each key one delivery at a time is under way, and none is claimed after that of a later event."""
    sacks = {
        move.event: json.loads(move.payload or "{}").get("sack") for move in evidence.events if move.op == "INSERT"
    }
    places = {move.event: move.number or 0 for move in evidence.events if move.op == "INSERT"}
    latest: dict[str, int] = {}
    holder: dict[str, str] = {}
    for move in evidence.moves:
        if move.name != "town.book" or move.event is None:
            continue
        sack = sacks.get(move.event) or "?"
        if move.becomes == "running" and move.was == "ready":
            place = places.get(move.event, 0)
            if place < latest.get(sack, 0):
                yield f"order: {sack} is at {latest[sack]}, and {move.event} is claimed, which is {place}"
            latest[sack] = max(place, latest.get(sack, 0))
            if holder.get(sack, move.job) != move.job:
                yield f"order: {sack} is held by {holder[sack]}, and {move.job} is claimed"
            holder[sack] = move.job
        elif move.becomes in (*ENDED, None):
            holder.pop(sack, None)


def _operator(evidence: Evidence, histories: dict[str, list[Move]]) -> Iterator[str]:
    """What a person was told has happened."""
    for line in evidence.ledger("operator"):
        done = {(move.was, move.becomes) for move in histories.get(line["job"], ())}
        match line["verb"], line["answer"]:
            case "cancel", "cancelled":
                is_so = any(becomes == "cancelled" for _, becomes in done)
            case "retry" | "replay", _:
                is_so = bool(done & BY_HAND)
            case "purge", _:
                is_so = any(becomes is None for _, becomes in done)
            case _:
                is_so = True
        if not is_so:
            yield f"1: {line['verb']} of {line['job']} was answered with {line['answer']}, and did not happen"
