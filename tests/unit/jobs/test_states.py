"""The life of a job: every outcome leads to an allowed move, and is charged as it should be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.jobs.states import (
    FINAL,
    MOVES,
    Command,
    Completed,
    Failed,
    Failure,
    GaveUp,
    Interrupted,
    Outcome,
    Skipped,
    Snoozed,
    State,
    Stopped,
    Transition,
    allowed_for,
    allows,
    decide,
)

texts = st.text(max_size=2000)
failures_kept = st.builds(Failure, texts, texts, st.none() | texts)
seconds = st.floats(-1e9, 1e9)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Completed, st.none() | texts),
    st.builds(Skipped, texts),
    st.builds(Failed, failures_kept, seconds),
    st.builds(GaveUp, texts, st.none() | failures_kept),
    st.builds(Snoozed, seconds),
    st.builds(Stopped, texts),
    st.just(Interrupted()),
)
counts = st.integers(0, 1_000_000)


@given(outcomes, counts, st.integers(1, 1_000_000))
def test_every_outcome_is_an_allowed_move_of_a_running_job(outcome: Outcome, failures: int, attempts: int) -> None:
    assert decide(outcome, failures=failures, attempts=attempts).state in MOVES[Command.FINISH][State.RUNNING]


@given(outcomes, counts, st.integers(1, 1_000_000))
def test_a_failure_costs_one_attempt_and_nothing_else_costs_any(outcome: Outcome, failures: int, attempts: int) -> None:
    charged = decide(outcome, failures=failures, attempts=attempts).failures - failures
    assert charged == isinstance(outcome, Failed | GaveUp)


@given(outcomes, counts, st.integers(1, 1_000_000))
def test_what_waits_has_a_delay_and_what_ends_has_none(outcome: Outcome, failures: int, attempts: int) -> None:
    move = decide(outcome, failures=failures, attempts=attempts)
    assert (move.delay is None) == move.state.is_final
    assert move.delay is None or 0 <= move.delay < math.inf


@given(outcomes, counts, st.integers(1, 1_000_000))
def test_what_is_set_aside_says_why(outcome: Outcome, failures: int, attempts: int) -> None:
    move = decide(outcome, failures=failures, attempts=attempts)
    assert (move.reason is not None) == (move.state in (State.SKIPPED, State.DEAD, State.CANCELLED))
    assert (move.result is None) or isinstance(outcome, Completed)
    assert move.failure == (outcome.failure if isinstance(outcome, Failed | GaveUp) else None)


@given(failures_kept, seconds, counts, st.integers(1, 1_000_000))
def test_a_failed_run_is_dead_exactly_when_its_attempts_are_used_up(
    failure: Failure, retry_in: float, failures: int, attempts: int
) -> None:
    move = decide(Failed(failure, retry_in), failures=failures, attempts=attempts)
    assert move.state is (State.DEAD if failures + 1 >= attempts else State.SCHEDULED)


@given(failures_kept, st.integers(1, 50))
def test_a_job_that_always_fails_has_exactly_its_attempts(failure: Failure, attempts: int) -> None:
    failures, runs, state = 0, 0, State.SCHEDULED
    while state is not State.DEAD:
        move = decide(Failed(failure, 1.0), failures=failures, attempts=attempts)
        failures, state, runs = move.failures, move.state, runs + 1
    assert runs == failures == attempts


def test_snoozes_and_interruptions_may_go_on_for_ever() -> None:
    for outcome in (Snoozed(1.0), Interrupted()):
        failures = 0
        for _ in range(100):
            failures = decide(outcome, failures=failures, attempts=1).failures
        assert failures == 0


def test_transitions_in_full() -> None:
    boom = Failure("ValueError", "no such account", "Traceback …")
    assert decide(Completed('"ok"'), failures=1, attempts=3) == Transition(State.COMPLETED, 1, result='"ok"')
    assert decide(Skipped("gone"), failures=1, attempts=3) == Transition(State.SKIPPED, 1, reason="gone")
    assert decide(Snoozed(7), failures=1, attempts=3) == Transition(State.SCHEDULED, 1, delay=7.0)
    assert decide(Stopped("half"), failures=1, attempts=3) == Transition(State.CANCELLED, 1, reason="half")
    assert decide(Interrupted(), failures=1, attempts=3) == Transition(State.READY, 1, delay=0.0)
    assert decide(Interrupted(began=True), failures=1, attempts=3) == Transition(State.READY, 1, delay=0.0, began=True)
    assert decide(Failed(boom, 5.0), failures=1, attempts=3) == Transition(State.SCHEDULED, 2, delay=5.0, failure=boom)
    assert decide(GaveUp("no", boom), failures=1, attempts=3) == Transition(State.DEAD, 2, reason="no", failure=boom)
    assert decide(Failed(boom, 5.0), failures=2, attempts=3) == Transition(
        State.DEAD, 3, reason="failed 3 of 3 attempts; last: ValueError: no such account", failure=boom
    )


def test_the_reason_of_a_death_is_bounded() -> None:
    move = decide(Failed(Failure("Error", "x" * 5000), 0), failures=0, attempts=1)
    assert move.reason is not None
    assert len(move.reason) == 1000


# --- the table


def test_every_command_but_enqueue_moves_jobs_that_exist() -> None:
    assert set(MOVES) == set(Command) - {Command.ENQUEUE}


def test_every_state_is_reached_and_every_state_is_left() -> None:
    """A job is born scheduled or ready, and even what has ended can be deleted."""
    reached = {State.SCHEDULED, State.READY} | {to for moves in MOVES.values() for tos in moves.values() for to in tos}
    left = {origin for moves in MOVES.values() for origin in moves}
    assert reached == left == set(State)


def test_a_run_ends_only_from_running_and_only_a_claim_makes_it_run() -> None:
    for command, moves in MOVES.items():
        for origin, targets in moves.items():
            if State.RUNNING in targets and origin is not State.RUNNING:
                assert command is Command.CLAIM
    assert set(MOVES[Command.FINISH]) == set(MOVES[Command.RESCUE]) == {State.RUNNING}


def test_only_a_person_moves_what_has_ended() -> None:
    by_hand = {Command.CANCEL, Command.RETRY, Command.DELETE}
    for command, moves in MOVES.items():
        if command not in by_hand:
            assert not FINAL & set(moves), command


def test_a_completed_job_is_never_run_again() -> None:
    targets = {to for moves in MOVES.values() for to in moves.get(State.COMPLETED, ())}
    assert targets == {State.COMPLETED}


def test_what_ends_is_final() -> None:
    assert {state for state in State if state.is_final} == FINAL
    assert {State.COMPLETED, State.SKIPPED, State.CANCELLED, State.DEAD} == FINAL


@pytest.mark.parametrize("command", Command)
def test_the_table_can_be_asked(command: Command) -> None:
    states = allowed_for(command)
    assert [state for state in State if allows(command, state)] == list(states)
    assert set(states) == set(MOVES.get(command, {}))
