"""The wake-up protocol, as a model in virtual time: whatever comes when, no ready job waits beside a free slot."""

from __future__ import annotations

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
    arrivals = draw(st.lists(bursts, min_size=1, max_size=10))
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


@settings(max_examples=200)
@given(worlds())
def test_no_ready_job_waits_while_its_queue_has_a_free_slot(world: World) -> None:
    play(world)
