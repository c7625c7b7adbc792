"""The parts of a worker that need no database: prefetch, ledger, observer, outcomes."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remit import DeadLetter, Retry, RetryAfter, Skip, Snooze, fixed
from remit.catalog import Defaults, Policy, resolve
from remit.execution.model import Claim
from remit.jobs.states import Failed, GaveUp, Outcome, Skipped, Snoozed
from remit.runtime.handlers.outcomes import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    Raised,
    RemoteError,
    describe,
    lineage,
    outcome_of,
    storable,
)
from remit.runtime.lease.observer import Observer
from remit.runtime.path import ledger as ledgers
from remit.runtime.path import prefetch as prefetches
from remit.runtime.path.ledger import Ledger
from remit.runtime.path.prefetch import Prefetch
from remit.telemetry import Telemetry


def claim(id: str = "a", token: int = 1) -> Claim:
    return Claim(id, token, 7, 0, 3, False, "json", "{}", None, id, "d.j")


# --- prefetch


async def test_an_intake_hands_out_what_was_claimed_in_order() -> None:
    prefetch = Prefetch("q", 2, lambda: None)
    prefetch.put([claim("a"), claim("b")])
    assert [(await prefetch.take()).id, (await prefetch.take()).id] == ["a", "b"]
    assert prefetch.running == 2
    assert prefetch.room() == 0


async def test_a_slot_waits_for_a_job_and_a_cancelled_one_passes_its_turn_on() -> None:
    prefetch = Prefetch("q", 2, lambda: None)
    first, second = asyncio.create_task(prefetch.take()), asyncio.create_task(prefetch.take())
    await asyncio.sleep(0)
    prefetch.put([claim("a")])
    first.cancel()
    assert (await second).id == "a"


class Calls:
    """How often the producer was called since it was last asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    def since(self) -> int:
        count, self.count = self.count, 0
        return count


async def test_a_slot_that_becomes_free_calls_the_producer_while_the_store_holds_more() -> None:
    calls = Calls()
    prefetch = Prefetch("q", 1, calls)
    prefetch.put([claim("a")])
    await prefetch.take()
    assert not calls.since(), "there is no room"
    prefetch.done()
    assert calls.since()


async def test_a_slot_calls_nobody_while_the_wakeup_reports_what_comes() -> None:
    calls = Calls()
    prefetch = Prefetch("q", 2, calls)
    prefetch.more = False
    prefetch.put([claim("a")])
    await prefetch.take()
    prefetch.done()
    assert not calls.since()


async def test_whoever_is_refused_room_is_called_when_there_is_room() -> None:
    """Nothing was left in the store at the last look; since then the wakeup may have rung in vain."""
    calls = Calls()
    prefetch = Prefetch("q", 1, calls)
    prefetch.put([claim("a")])
    await prefetch.take()
    prefetch.more = False
    assert prefetch.room() == 0
    prefetch.done()
    assert calls.since()
    assert prefetch.room() == 1


async def test_jobs_are_asked_for_ahead_of_slots_whose_runs_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    prefetch = Prefetch("q", 1, calls)
    monkeypatch.setattr(prefetch, "_sample", lambda: None)
    monkeypatch.setattr(prefetch, "_ahead", 4)
    prefetch.put([claim(str(n)) for n in range(5)])
    assert prefetch.room() == 0
    for _ in range(2):
        await prefetch.take()
        prefetch.done()
    assert not calls.since(), "enough wait"
    await prefetch.take()
    prefetch.done()
    assert calls.since()
    assert prefetch.room() == 3


class IntakeMachine(RuleBasedStateMachine):
    """An prefetch under everything that may happen to it, while its producer sleeps after a refusal."""

    @initialize(concurrency=st.integers(1, 4))
    def begin(self, concurrency: int) -> None:
        self.now = 0.0
        self.clock = mock.patch.object(prefetches, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.clock.start()
        self.calls = Calls()
        self.prefetch = Prefetch("q", concurrency, self.calls)
        self.prefetch._until = math.inf  # a slot lets nobody pass: there is no event loop here
        self.refused = False

    @rule(seconds=st.sampled_from((0.001, 0.011, 0.2)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(takes=st.integers(0, 20))
    def the_producer_looks(self, takes: int) -> None:
        """It claims what there is, and finds that there is no more."""
        self.calls.since()
        room = self.prefetch.room()
        self.refused = not room
        if room:
            self.prefetch.more = False
            self.prefetch.put([claim(str(n)) for n in range(min(takes, room))])

    @precondition(lambda self: self.prefetch.waiting and self.prefetch.running < self.prefetch.concurrency)
    @rule()
    def a_slot_takes(self) -> None:
        taking = self.prefetch.take().send
        with pytest.raises(StopIteration):
            taking(None)

    @precondition(lambda self: self.prefetch.running)
    @rule()
    def a_run_ends(self) -> None:
        self.prefetch.done()

    @rule()
    def what_waits_is_given_back(self) -> None:
        self.prefetch.empty()

    @invariant()
    def no_slot_is_free_behind_a_refusal(self) -> None:
        if hasattr(self, "prefetch") and self.refused and not self.calls.count:
            assert self.prefetch.running + self.prefetch.waiting >= self.prefetch.concurrency

    def teardown(self) -> None:
        if hasattr(self, "clock"):
            self.clock.stop()


TestIntake = IntakeMachine.TestCase
TestIntake.settings = settings(max_examples=40)


async def test_long_jobs_are_not_claimed_ahead() -> None:
    prefetch = Prefetch("q", 5, lambda: None)
    assert prefetch.room() == 5
    prefetch.put([claim(str(n)) for n in range(5)])
    for _ in range(5):
        await prefetch.take()
    assert prefetch.room() == 0


async def test_what_has_not_started_can_be_taken_back() -> None:
    prefetch = Prefetch("q", 1, lambda: None)
    prefetch.put([claim("a"), claim("b")])
    await prefetch.take()
    assert [one.id for one in prefetch.empty()] == ["b"]
    assert prefetch.waiting == 0


# --- ledger


def test_a_ledger_knows_what_it_holds_and_what_it_has_asked_for() -> None:
    ledger = Ledger()
    with ledger.claiming() as token:
        assert ledger.knows("anything", token), "its reply may be under way"
    assert not ledger.knows("anything", token)
    ledger.take([claim("a", 5)])
    assert ledger.knows("a", 5)
    assert not ledger.knows("a", 6)
    ledger.drop("a", 6)
    assert ledger.knows("a", 5), "another token's end does not concern this claim"
    ledger.fence()
    assert not ledger.knows("a", 5)
    assert not ledger.has_room()


def test_a_full_ledger_calls_whoever_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_HELD", 2)
    calls = Calls()
    ledger = Ledger(calls)
    ledger.take([claim("a"), claim("b"), claim("c")])
    ledger.drop("a", 1)
    assert not calls.since(), "nobody was refused"
    assert not ledger.has_room()
    ledger.drop("b", 1)
    assert calls.since()
    assert ledger.has_room()
    ledger.drop("c", 1)
    assert not calls.since()


def test_a_ledger_calls_when_its_suspect_is_gone() -> None:
    calls = Calls()
    ledger = Ledger(calls)
    suspect = claim("a")
    suspect.suspect = True
    ledger.take([suspect, claim("b")])
    assert ledger.suspect == "a"
    ledger.drop("b", 1)
    assert not calls.since()
    ledger.drop("a", 1)
    assert calls.since()
    assert ledger.suspect is None


def test_every_life_has_an_id_of_its_own() -> None:
    assert Ledger().worker != Ledger().worker


# --- observer


def test_a_worker_is_silent_when_its_counter_stood_still_for_a_lease_on_our_clock() -> None:
    observer = Observer(10.0)
    observer.see({"a": 1, "b": 1}, 0.0)
    observer.see({"a": 1, "b": 2}, 9.0)
    assert observer.silent(10.0) == []
    assert observer.silent(10.1) == [("a", 1)]
    assert observer.silent(19.1) == [("a", 1), ("b", 2)]


def test_a_new_observer_grants_everybody_a_whole_lease() -> None:
    observer = Observer(10.0)
    observer.see({"a": 1_000_000}, 500.0)
    assert observer.silent(510.0) == []


def test_nobodys_silence_counts_while_we_could_not_look() -> None:
    observer = Observer(10.0)
    observer.see({"a": 1}, 0.0)
    observer.skip(30.0)
    assert observer.silent(35.0) == []
    assert observer.silent(40.5) == [("a", 1)]


def test_a_worker_that_signed_off_is_forgotten() -> None:
    observer = Observer(10.0)
    observer.see({"a": 1}, 0.0)
    observer.see({}, 1.0)
    assert observer.silent(100.0) == []


# --- outcomes


def outcome(
    error: BaseException, policy: Policy | None = None, failures: int = 0, backoff: str | None = None
) -> Outcome:
    policy = policy or resolve(Defaults(retry=Retry(backoff=fixed(7), give_up_on=(KeyError,))))
    return outcome_of(error, name="d.j", policy=policy, failures=failures, backoff=backoff, telemetry=Telemetry())


def test_what_a_handler_raises_says_how_its_run_ends() -> None:
    assert outcome(Skip("gone")) == Skipped("gone")
    assert outcome(Snooze(5)) == Snoozed(5.0)
    assert outcome(DeadLetter("never")) == GaveUp("never")
    after = outcome(RetryAfter(30))
    assert isinstance(after, Failed)
    assert after.retry_in == 30.0


def test_another_exception_is_retried_by_policy_unless_the_policy_gives_up_on_it() -> None:
    failed = outcome(ValueError("broken"))
    assert isinstance(failed, Failed)
    assert (failed.failure.kind, failed.failure.message, failed.retry_in) == ("ValueError", "broken", 7.0)
    given_up = outcome(KeyError("x"))
    assert isinstance(given_up, GaveUp)
    assert given_up.reason == "KeyError: 'x'"


def test_a_backoff_of_the_call_has_the_last_word() -> None:
    failed = outcome(ValueError("x"), backoff=fixed(99).dump())
    assert isinstance(failed, Failed)
    assert failed.retry_in == 99.0


def test_a_backoff_function_that_fails_costs_nothing_but_its_own_choice(caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: int, error: BaseException) -> float:
        raise ZeroDivisionError("in the backoff")

    failed = outcome(ValueError("x"), resolve(Defaults(retry=Retry(backoff=broken))))
    assert isinstance(failed, Failed)
    assert 0 < failed.retry_in < math.inf
    assert "backoff function failed, the default is used: d.j" in caplog.text


def test_a_failure_in_another_process_is_recognised_by_its_lineage() -> None:
    class Refused(KeyError): ...

    remote = RemoteError(Raised(describe(Refused("x")), lineage(Refused)))
    assert isinstance(outcome(remote), GaveUp)
    assert isinstance(outcome(RemoteError(Raised(describe(ValueError("x")), lineage(ValueError)))), Failed)


def test_a_huge_traceback_is_cut_in_the_middle() -> None:
    failure = describe(ValueError("x" * 5_000_000))
    assert len(failure.message) <= LONGEST_MESSAGE
    assert len(failure.traceback or "") <= LONGEST_TRACEBACK
    assert "characters left out" in failure.message


def test_an_exception_whose_text_cannot_be_made_is_described_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(Mute()).message == "(its text could not be made)"


@given(st.text(alphabet=st.characters(codec=None)), st.integers(80, 200))
def test_what_is_kept_can_be_stored(text: str, longest: int) -> None:
    kept = storable(text, longest)
    assert "\0" not in kept
    assert len(kept) <= longest
    kept.encode()


@pytest.mark.parametrize("wrong", [-1, math.inf, math.nan, "5", True, None])
def test_a_signal_refuses_a_time_that_is_none(wrong: Any) -> None:
    for signal in (Snooze, RetryAfter):
        with pytest.raises(ValueError, match="takes a number of seconds from 0 on, or a timedelta"):
            signal(wrong)


@pytest.mark.parametrize("wrong", ["", None, 5])
def test_a_signal_refuses_a_reason_that_is_none(wrong: Any) -> None:
    for signal in (Skip, DeadLetter):
        with pytest.raises(ValueError, match="takes a reason, as text"):
            signal(wrong)


def test_except_exception_does_not_swallow_a_signal() -> None:
    def handler() -> None:
        try:
            raise Skip("x")
        except Exception:
            pytest.fail("swallowed")

    with pytest.raises(Skip):
        handler()
