"""Ways to falsify the evidence of a storm, each with the breach that the oracle must then report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from tests.chaos.audit import Move
from tests.chaos.oracle import ENDED, GRINDS, Evidence

Tampering: TypeAlias = Callable[[Evidence], Evidence]


def _find(evidence: Evidence, fits: Callable[[Move], bool]) -> Move:
    """The first transition of that kind; a storm has some of each."""
    return next(move for move in evidence.moves if fits(move))


def _completed(evidence: Evidence, *names: str) -> Move:
    """The completion of a job that is still in the store and was sent by a producer."""
    sent = {line["job"] for line in evidence.ledger("sent")}
    return _find(
        evidence,
        lambda move: move.becomes == "completed" and move.was == "running" and move.name in (names or GRINDS)
        and (move.job in sent or bool(names)) and move.job in evidence.rows,
    )  # fmt: skip


def _changed(evidence: Evidence, move: Move, **fields: Any) -> Evidence:
    return replace(evidence, moves=tuple(replace(each, **fields) if each is move else each for each in evidence.moves))


def _without(evidence: Evidence, fits: Callable[[Move], bool]) -> Evidence:
    return replace(evidence, moves=tuple(each for each in evidence.moves if not fits(each)))


def _without_lines(evidence: Evidence, what: str, job: str) -> Evidence:
    kept = tuple(line for line in evidence.lines if (line["what"], line["job"]) != (what, job))
    return replace(evidence, lines=kept)


# --- the ledger


def a_start_is_forgotten(evidence: Evidence) -> Evidence:
    return _without_lines(evidence, "started", _completed(evidence).job)


def a_delivery_is_forgotten(evidence: Evidence) -> Evidence:
    end = _completed(evidence, "town.book")
    return _without_lines(evidence, "delivered", end.event or "")


def a_job_was_never_sent(evidence: Evidence) -> Evidence:
    intended = {line["job"] for line in evidence.ledger("intend")}
    return _without_lines(evidence, "intend", _find(evidence, lambda move: move.job in intended).job)


def a_commit_is_taken_for_a_rollback(evidence: Evidence) -> Evidence:
    job = _completed(evidence).job
    return replace(evidence, lines=(*evidence.lines, {"what": "rolled back", "job": job}))


def a_business_row_is_gone(evidence: Evidence) -> Evidence:
    return replace(evidence, business=frozenset(sorted(evidence.business)[1:]))


def a_person_is_lied_to(evidence: Evidence) -> Evidence:
    line = {"what": "operator", "job": _completed(evidence).job, "verb": "purge", "answer": "completed"}
    return replace(evidence, lines=(*evidence.lines, line))


# --- the tables


def a_committed_job_is_lost(evidence: Evidence) -> Evidence:
    job = _completed(evidence).job
    rows = {id: row for id, row in evidence.rows.items() if id != job}
    return replace(_without(evidence, lambda move: move.job == job), rows=rows)


def a_row_is_gone(evidence: Evidence) -> Evidence:
    job = _completed(evidence).job
    return replace(evidence, rows={id: row for id, row in evidence.rows.items() if id != job})


def an_effect_is_doubled(evidence: Evidence) -> Evidence:
    return replace(evidence, effects=evidence.effects + Counter([next(iter(evidence.effects))]))


def an_effect_is_lost(evidence: Evidence) -> Evidence:
    return replace(evidence, effects=evidence.effects - Counter([next(iter(evidence.effects))]))


def a_payload_is_changed(evidence: Evidence) -> Evidence:
    job = _completed(evidence).job
    return replace(evidence, rows={**evidence.rows, job: replace(evidence.rows[job], payload="{}")})


def a_reason_is_lost(evidence: Evidence) -> Evidence:
    job = next(id for id, row in evidence.rows.items() if row.state == "dead")
    return replace(evidence, rows={**evidence.rows, job: replace(evidence.rows[job], reason=None)})


def a_job_runs_for_ever(evidence: Evidence) -> Evidence:
    move = _completed(evidence)
    rows = {**evidence.rows, move.job: replace(evidence.rows[move.job], state="running", worker="nobody")}
    return replace(_without(evidence, lambda each: each is move), rows=rows)


# --- the audit


def a_completed_job_runs_again(evidence: Evidence) -> Evidence:
    end = _completed(evidence)
    again = replace(end, was="completed", becomes="ready"), replace(end, was="ready", becomes="completed")
    return replace(evidence, moves=(*evidence.moves, *again))


def a_transition_is_missing(evidence: Evidence) -> Evidence:
    job = _completed(evidence).job
    return _without(evidence, lambda move: move.job == job and move.becomes == "running")


def a_claim_keeps_the_token(evidence: Evidence) -> Evidence:
    claim = _find(evidence, lambda move: move.becomes == "running" and move.was == "ready")
    return _changed(evidence, claim, token=claim.was_token)


def a_job_has_two_holders(evidence: Evidence) -> Evidence:
    claim = _find(evidence, lambda move: move.becomes == "running" and move.was == "ready")
    taken = replace(claim, was="running", was_worker=claim.worker, was_token=claim.token, worker="another", token=1)
    place = evidence.moves.index(claim) + 1
    return replace(evidence, moves=(*evidence.moves[:place], taken, *evidence.moves[place:]))


def a_success_is_charged(evidence: Evidence) -> Evidence:
    end = _completed(evidence)
    return _changed(evidence, end, failures=(end.failures or 0) + 1)


def a_running_job_is_removed(evidence: Evidence) -> Evidence:
    end = _completed(evidence)
    removed = replace(end, op="DELETE", was="running", becomes=None)
    moves = tuple(removed if each is end else each for each in evidence.moves)
    return replace(evidence, moves=moves, rows={id: row for id, row in evidence.rows.items() if id != end.job})


def a_message_of_a_run_is_lost(evidence: Evidence) -> Evidence:
    child = _find(evidence, lambda move: move.op == "INSERT" and move.name == "mill.sweep")
    rows = {id: row for id, row in evidence.rows.items() if id != child.job}
    return replace(_without(evidence, lambda move: move.job == child.job), rows=rows)


def a_message_of_a_run_is_doubled(evidence: Evidence) -> Evidence:
    event = next(move for move in evidence.events if move.name == "mill.milled" and move.causation is not None)
    return replace(evidence, events=(*evidence.events, replace(event, event="another")))


def a_delivery_is_missing(evidence: Evidence) -> Evidence:
    made = _find(evidence, lambda move: move.op == "INSERT" and move.name == "town.picky")
    rows = {id: row for id, row in evidence.rows.items() if id != made.job}
    return replace(_without(evidence, lambda move: move.job == made.job), rows=rows)


def a_delivery_is_doubled(evidence: Evidence) -> Evidence:
    made = _find(evidence, lambda move: move.op == "INSERT" and move.name == "town.picky")
    copies = tuple(replace(move, job="a copy") for move in evidence.moves if move.job == made.job)
    rows = (
        {**evidence.rows, "a copy": replace(evidence.rows[made.job], id="a copy")} if made.job in evidence.rows else {}
    )
    return replace(evidence, moves=(*evidence.moves, *copies), rows=rows or evidence.rows)


def a_death_is_no_event(evidence: Evidence) -> Evidence:
    died = next(move for move in evidence.events if move.name == "remit.job-died")
    return replace(evidence, events=tuple(move for move in evidence.events if move.event != died.event))


def an_event_is_not_dispatched(evidence: Evidence) -> Evidence:
    done = next(move for move in evidence.events if move.becomes == "dispatched")
    return replace(evidence, events=tuple(move for move in evidence.events if move is not done))


def two_deliveries_of_a_key_change_places(evidence: Evidence) -> Evidence:
    """The last claim of a key is put at the very beginning."""
    claims = [move for move in evidence.moves if move.name == "town.book" and move.was == "ready"]
    ends = [move for move in evidence.moves if move.name == "town.book" and move.becomes in ENDED]
    last = next(move for move in reversed(claims) if move.becomes == "running" and any(e.job == move.job for e in ends))
    return replace(evidence, moves=(last, *(move for move in evidence.moves if move is not last)))


TAMPERINGS: tuple[tuple[Tampering, str], ...] = (
    (a_start_is_forgotten, "2:"),
    (a_delivery_is_forgotten, "8:"),
    (a_job_was_never_sent, "5:"),
    (a_commit_is_taken_for_a_rollback, "5:"),
    (a_business_row_is_gone, "5:"),
    (a_person_is_lied_to, "1:"),
    (a_committed_job_is_lost, "1:"),
    (a_row_is_gone, "1:"),
    (an_effect_is_doubled, "2:"),
    (an_effect_is_lost, "2:"),
    (a_payload_is_changed, "10:"),
    (a_reason_is_lost, "10:"),
    (a_job_runs_for_ever, "4:"),
    (a_completed_job_runs_again, "1:"),
    (a_transition_is_missing, "1:"),
    (a_claim_keeps_the_token, "3:"),
    (a_job_has_two_holders, "3:"),
    (a_success_is_charged, "9:"),
    (a_running_job_is_removed, "1:"),
    (a_message_of_a_run_is_lost, "5:"),
    (a_message_of_a_run_is_doubled, "5:"),
    (a_delivery_is_missing, "8:"),
    (a_delivery_is_doubled, "8:"),
    (a_death_is_no_event, "8:"),
    (an_event_is_not_dispatched, "8:"),
    (two_deliveries_of_a_key_change_places, "order:"),
)
"""Each falsification, and how the breach begins that it must be reported as."""
