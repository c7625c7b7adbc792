"""How long the parts of a worker sleep when no signal wakes them: every such time, in one place.

Each sleep ends by a signal; ARCHITECTURE.md lists the sleeps and their wakers. These times only bound the cost of a
signal that is lost outside remit: a network that drops a session in silence, a row that was locked and then rolled
back, a worker that dies before it reports. No part may rely on them, so `tests/liveness` runs workers with each of them
at an hour. Read them as attributes of this module at the moment of use.
"""

from __future__ import annotations

WAKEUP = 1.0
"""Seconds that a part sleeps at most on an armed wakeup."""
SATURATED = 5.0
"""Seconds between two looks of a producer without room."""
PROMOTER = 0.5
"""Seconds between two looks for due jobs; a job that another process schedules for sooner may be late by so much."""
SEQUENCER = 0.5
"""Seconds between two sweeps of all ordered lanes; a turn whose predecessor ended elsewhere, or by a person's hand, may
be late by so much."""
