"""Storms of everything at once, judged from outside; and proofs that the judge sees what is wrong.

`CHAOS_SEED=… CHAOS_SECONDS=… make soak ARGS=tests/chaos` runs a storm again.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from tests.chaos.oracle import Evidence, judge
from tests.chaos.storm import ChaosSite, Storm
from tests.chaos.tampering import TAMPERINGS
from tests.servers import PostgresServer

pytestmark = pytest.mark.fault

SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1_000_000)))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))


def judged(site: ChaosSite, storm: Storm, seconds: float, *, workers: int, patience: float) -> Evidence:
    """Let a storm blow, and fail with every invariant that did not hold."""
    print("CHAOS_SEED", storm.seed)
    storm.blow(seconds, workers=workers, patience=patience)
    evidence = Evidence.of(site)
    states = Counter(row.state for row in evidence.rows.values())
    print(dict(storm.done), f"{len(evidence.moves)} transitions,", dict(states))
    breaches = judge(evidence)
    count = f"{len(breaches)} breaches in the storm of seed {storm.seed}"
    assert not breaches, "\n".join([count, *breaches[:30], *told_of(evidence, " ".join(breaches[:3]))])
    return evidence


def told_of(evidence: Evidence, text: str) -> list[str]:
    """All that is known of the jobs and events that a text names."""
    known: list[object] = [*evidence.moves, *evidence.events]
    ids = {word.strip(",:") for word in text.split() if word.count("-") == 4}
    return [str(each) for each in (*known, *evidence.lines) if any(id in str(each) for id in ids)]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_invariant_holds_in_a_storm_and_the_oracle_sees_each_breach(
    site: ChaosSite, seed: int, request: pytest.FixtureRequest
) -> None:
    sessions = None if site.database.is_sqlite else request.getfixturevalue("postgres_server")
    evidence = judged(site, Storm(site, seed, pause=0.15, sessions=sessions), 2.5, workers=2, patience=60.0)
    unseen = [
        tampering.__name__
        for tampering, breach in TAMPERINGS
        if not any(each.startswith(breach) for each in judge(tampering(evidence)))
    ]
    assert not unseen


EVERYTHING = {
    "kill", "stop", "freeze", "bury", "cancel", "retry", "delete", "purge", "replay", "pause", "resume", "fill",
    "retire", "cancel many", "retry many", "delete many", "replay many",
}  # fmt: skip


def soaked(site: ChaosSite, storm: Storm) -> None:
    judged(site, storm, SECONDS, workers=3, patience=180.0)
    idle = EVERYTHING - {what for what, count in storm.done.items() if count}
    assert not idle, f"the storm has done none of these, so it proves nothing about them: {idle}"


@pytest.mark.soak
def test_soak_every_invariant_holds_in_a_long_storm_on_sqlite(sqlite_site: ChaosSite) -> None:
    soaked(sqlite_site, Storm(sqlite_site, SEED))


@pytest.mark.soak
def test_soak_every_invariant_holds_in_a_long_storm_on_postgres_that_is_restarted(
    own_site: ChaosSite, own_postgres_server: PostgresServer
) -> None:
    storm = Storm(own_site, SEED, server=own_postgres_server, sessions=own_postgres_server)
    soaked(own_site, storm)
