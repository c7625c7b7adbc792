"""The wake-up protocol, as a model in virtual time: whatever comes when, no ready job waits beside a free slot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.liveness.model import Arrival, World, play

MOMENTS = st.sampled_from((0.0, 0.0, 0.0005, 0.003, 0.03, 0.3))
DURATIONS = st.sampled_from((0.0, 0.0005, 0.003, 0.03, 0.3, 2.0))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    queues, lines = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    arrival = st.builds(
        Arrival,
        after=MOMENTS,
        queue=st.integers(0, queues - 1),
        line=st.integers(0, lines - 1),
        priority=st.integers(0, 1),
        takes=DURATIONS,
        open_for=st.sampled_from((0.0, 0.0, 0.003, 0.03)),
        suspect=st.sampled_from((False, False, False, True)),
        is_event=st.sampled_from((False, False, False, True)),
        held_for=st.sampled_from((0.0,) * 7 + (0.3,)),
    )
    bursts = st.builds(lambda one, times: (one,) * times, arrival, st.sampled_from((1, 1, 2, 5, 30)))
    arrivals = draw(st.lists(bursts, min_size=3, max_size=10))
    return World(
        arrivals=tuple(one for burst in arrivals for one in burst),
        slots=tuple(draw(st.sampled_from((1, 1, 2, 10))) for _ in range(queues)),
        lines=lines,
        workers=draw(st.integers(1, 2)),
        several_writers=draw(st.booleans()),
        rings_once=draw(st.booleans()),
        most_held=draw(st.sampled_from((3, 5_000))),
        paused=draw(st.sampled_from(((), ((0.0, 0.01),), ((0.05, 0.3),)))),
        seed=draw(st.integers(0, 2**16)),
    )


@settings(max_examples=100)
@given(worlds())
def test_no_ready_job_waits_while_its_queue_has_a_free_slot(world: World) -> None:
    play(world)


LONG = Arrival(after=0.1, takes=0.3)
SHORT, LONGER = Arrival(0.0015, queue=1, takes=0.0005), Arrival(0.02, queue=1, takes=0.3)
CHANGING = (SHORT,) * 150 + (LONGER,) * 30

TRAPS = {
    "one comes while the only slot is busy": World((LONG, LONG)),
    "runs are short, then long": World(tuple(replace(one, queue=0) for one in CHANGING)),
    "the same, while another queue has room": World(CHANGING, slots=(1, 1)),
    "more than a worker may hold": World((Arrival(0.0005, takes=0.01),) * 30, slots=(10,), most_held=3),
    "a suspect waits for a suspect": World((replace(LONG, suspect=True),) * 4, slots=(3,)),
    "two workers want the head of one line, and another line is full": World(
        (Arrival(0.2),) + (Arrival(0, line=1, priority=1, takes=0.001),) * 9,
        slots=(1,), lines=2, workers=2, several_writers=False, seed=1,
    ),
    "a transaction holds the head of one line": World(
        (Arrival(0.2, held_for=5.0), Arrival(0, line=1, priority=1), Arrival(0, priority=2)),
        lines=2, several_writers=False,
    ),
    "a queue is resumed": World((LONG,) * 3, paused=((0.05, 0.6),)),
    "an enqueue is open for long": World((replace(LONG, open_for=0.03), LONG)),
    "the relay is busy": World((Arrival(0.2, is_event=True), Arrival(0, is_event=True), Arrival(0.01)) * 5),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trap", TRAPS)
def test_no_ready_job_waits_where(trap: str, seed: int) -> None:
    play(replace(TRAPS[trap], seed=seed))
