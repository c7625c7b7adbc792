"""Identities are what they promise: valid, growing, and never given twice."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from remit.jobs.ids import IdSource, TokenSource, new_id, new_token


def in_threads(count: int, work: Callable[[], list[Any]]) -> list[list[Any]]:
    """Run it in several threads that start together; what each returned."""
    results: list[list[Any]] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        text = new_id()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_an_id_holds_the_time_at_which_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(IdSource()()).int >> 80
    after = time.time_ns() // 1_000_000
    assert before <= made <= after


def test_ids_grow_as_text_and_as_numbers() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    numbers = [uuid.UUID(id).int for id in ids]
    assert numbers == sorted(numbers)


def test_ids_of_many_threads_are_distinct_and_grow_in_each() -> None:
    source = IdSource()
    results = in_threads(8, lambda: [source() for _ in range(2000)])
    assert all(ids == sorted(ids) for ids in results)
    assert len({id for ids in results for id in ids}) == 16_000


def test_ids_grow_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    source = IdSource()
    before = source()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert before < source() < source()


def test_two_sources_do_not_meet() -> None:
    one, other = IdSource(), IdSource()
    assert not {one() for _ in range(5000)} & {other() for _ in range(5000)}


def test_a_token_is_a_positive_number_of_63_bits() -> None:
    tokens = [new_token() for _ in range(10_000)]
    assert all(0 < token < 2**63 for token in tokens)
    assert len(set(tokens)) == len(tokens)


def test_tokens_go_round_without_ever_being_zero() -> None:
    source = TokenSource()
    source._next = 2**63 - 3
    assert [source() for _ in range(4)] == [2**63 - 2, 2**63 - 1, 1, 2]


def test_tokens_of_many_threads_are_distinct() -> None:
    source = TokenSource()
    results = in_threads(8, lambda: [source() for _ in range(2000)])
    assert len({token for tokens in results for token in tokens}) == 16_000


def test_each_boot_begins_elsewhere() -> None:
    assert len({TokenSource()() for _ in range(100)}) == 100
