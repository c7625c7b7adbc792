"""The room of a queue is shared out between its lines: never too much, nobody overtaken, everybody in turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from remit.execution.shares import LAST_PRIORITY, by_priority, even

lines = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12, unique=True)
priorities = st.integers(-32_768, LAST_PRIORITY)
heads = st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3) | priorities, min_size=1, max_size=12)
rooms = st.integers(0, 2000)
turns = st.integers(0, 10_000)


@given(lines, rooms)
def test_even_shares_are_equal_and_fit(lines: list[int], room: int) -> None:
    allotments = even("billing.invoices", lines, room)
    assert sum(one.quota for one in allotments) <= room
    assert len({one.quota for one in allotments}) <= 1
    assert [one.line for one in allotments] in ([], lines)
    assert all(one.queue == "billing.invoices" and one.ceiling == LAST_PRIORITY for one in allotments)


@given(lines, rooms)
def test_even_shares_leave_less_than_one_job_a_line_unused(lines: list[int], room: int) -> None:
    assert room - sum(one.quota for one in even("q.q", lines, room)) < len(lines)


@given(heads, rooms, turns)
def test_the_room_is_used_up_and_never_exceeded(heads: dict[int, int], room: int, turn: int) -> None:
    allotments = by_priority("q.q", heads, room, turn)
    assert sum(one.quota for one in allotments) == room
    assert all(one.quota > 0 for one in allotments)


@given(heads, st.integers(1, 2000), turns)
def test_no_job_is_taken_before_another_lines_better_head(heads: dict[int, int], room: int, turn: int) -> None:
    for one in by_priority("q.q", heads, room, turn):
        others = [priority for line, priority in heads.items() if line != one.line]
        assert all(heads[one.line] <= priority for priority in others)
        assert all(one.ceiling <= priority for priority in others if priority == heads[one.line])
        assert all(one.ceiling < priority for priority in others if priority > heads[one.line])
        assert heads[one.line] <= one.ceiling <= LAST_PRIORITY


@given(heads, st.integers(1, 2000), turns)
def test_equal_heads_get_equal_parts(heads: dict[int, int], room: int, turn: int) -> None:
    best = min(heads.values())
    leading = [line for line, priority in heads.items() if priority == best]
    quotas = {one.line: one.quota for one in by_priority("q.q", heads, room, turn)}
    parts = [quotas.get(line, 0) for line in leading]
    assert max(parts) - min(parts) <= 1
    assert set(quotas) <= set(leading)


@given(heads, st.integers(1, 50), turns)
def test_what_does_not_divide_goes_round(heads: dict[int, int], room: int, turn: int) -> None:
    best = min(heads.values())
    leading = [line for line, priority in heads.items() if priority == best]
    total: Counter[int] = Counter()
    for one_turn in range(turn, turn + len(leading)):
        total.update({one.line: one.quota for one in by_priority("q.q", heads, room, one_turn)})
    assert dict(total) == dict.fromkeys(leading, room)


@given(rooms, turns)
def test_nothing_is_asked_of_lines_that_hold_nothing(room: int, turn: int) -> None:
    assert by_priority("q.q", {}, room, turn) == []


@given(heads, st.integers(-5, 0), turns)
def test_nothing_is_asked_without_room(heads: dict[int, int], room: int, turn: int) -> None:
    assert by_priority("q.q", heads, room, turn) == []


def test_a_lone_line_may_take_all_that_it_holds() -> None:
    [one] = by_priority("q.q", {7: 5}, 10, 3)
    assert (one.line, one.queue, one.quota, one.ceiling) == (7, "q.q", 10, LAST_PRIORITY)
