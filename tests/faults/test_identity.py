"""Faults 46 to 53 and 95: the same names twice, several hands on one job, and work that nobody declares any more."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

import pytest

from remit.errors import InvalidTransition, JobNotFound
from tests.faults.application import Fail, Hold, Note, Parent
from tests.faults.harness import FINAL, ROOT, Site, until

pytestmark = pytest.mark.fault


def test_fault_46_the_same_host_and_pid_again(site: Site) -> None:
    """Workers are told apart by an id that is never used again, not by where they run."""
    victim = site.worker().ready()
    id = site.send(Hold(number=1, gate="a"))
    site.await_line("started", id)
    victim.kill()
    other = site.worker().ready()
    site.database.execute(
        "UPDATE remit.worker SET pid = %s, host = (SELECT host FROM remit.worker WHERE id::text = %s)",
        victim.pid,
        other.id,
    )
    until(lambda: site.database.workers() == {other.id}, "only the dead one is declared dead")
    site.open("a")
    site.await_final(id)
    rows = site.check()
    assert (rows[id].state, rows[id].failures) == ("completed", 0)
    assert other.id != victim.id


FORKED = """
import os
from remit.jobs.ids import new_id, new_token
child = os.fork()
if child:
    os.waitpid(child, 0)
print(*(new_token() for _ in range(100)), *(new_id() for _ in range(100)), flush=True)
"""


def test_fault_46_a_forked_process_makes_ids_and_tokens_of_its_own() -> None:
    """Equal tokens in two workers would let a zombie complete what the other has claimed."""
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    made = done.stdout.split()
    assert len(made) == len(set(made)) == 400


HANDS = """
import sys, random
from remit import Remit
from remit.errors import RemitError
from tests.faults.application import yard
url, seed, *ids = sys.argv[1:]
chance = random.Random(seed)
jobs = Remit(url, domains=[yard]).sync.jobs
verbs = [jobs.cancel, jobs.retry, jobs.delete, jobs.retry, jobs.get, lambda id: jobs.replay(id)]
for _ in range(150):
    try:
        chance.choice(verbs)(chance.choice(ids))
    except RemitError:
        pass
"""


def test_fault_49_cancel_retry_delete_and_complete_at_once(site: Site) -> None:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    jobs = [Parent(number=10 * n, children=1) for n in range(1, 11)] + [Fail(number=n, times=9) for n in range(10)]
    ids = site.send_all([*jobs, *(Hold(number=n, gate=f"gate-{n}") for n in range(10))])
    site.started(2, lease=5.0)
    hands = [subprocess.Popen([sys.executable, "-c", HANDS, site.url, str(seed + n), *ids], cwd=ROOT) for n in range(3)]
    for n in range(10):
        site.open(f"gate-{n}")
    assert [hand.wait(60) for hand in hands] == [0, 0, 0]

    def settled() -> bool:
        return all(row.state in FINAL for row in site.database.rows().values())

    until(settled, "everything ends")
    rows = site.database.rows()
    sent = site.ledger.jobs("sent")
    assert sent <= rows.keys(), "1: nothing is gone"
    children = Counter(row.causation for row in rows.values() if row.causation)
    for id in ids:
        runs = site.ledger.count("ended", id)
        assert children[id] <= runs, f"5: {children[id]} messages of {runs} runs"
        if rows[id].name == "yard.parent" and rows[id].state == "completed":
            assert children[id] >= 1
    assert not any(row.worker for row in rows.values()), "3: nobody holds anything"


def test_fault_49_cancel_and_complete_race_for_one_job(site: Site) -> None:
    """A cancel request that comes while the handler ends is either in time or not; never both, never lost."""
    site.worker(lease=5.0).ready()
    ids = site.send_all([Hold(number=n, gate=f"gate-{n}") for n in range(12)])
    for n, id in enumerate(ids):
        site.await_line("started", id)
        site.open(f"gate-{n}")
        try:
            site.app.sync.jobs.cancel(id, reason="race", by="test")
        except InvalidTransition as error:
            assert "completed" in str(error)  # noqa: PT017
    rows = site.await_final(*ids)
    assert {rows[id].state for id in ids} == {"completed"}, "a run that ends well is complete, asked to stop or not"
    site.check()


def test_fault_50_an_operator_deletes_the_row_of_a_running_job(site: Site) -> None:
    worker = site.worker(lease=5.0).ready()
    ids = site.send_all([Parent(number=10, children=2, gate="a"), Hold(number=2, gate="a"), Hold(number=3, gate="a")])
    for id in ids:
        site.await_line("started", id)
    site.database.execute("DELETE FROM remit.job WHERE id::text = %s", ids[0])
    site.open("a")
    site.await_final(*ids[1:])
    site.await_line("ended", ids[0])
    until(lambda: f"outcome refused, the lease was lost: yard.parent {ids[0]}" in worker.log, "it is told")
    rows = site.check(gone=ids[:1])
    assert not any(row.causation for row in rows.values()), "its messages are not sent"
    later = site.send(Note(number=1))
    site.await_final(later)
    with pytest.raises(JobNotFound):
        site.app.sync.jobs.get(ids[0])


@pytest.mark.parametrize(
    "state, more",
    [
        ("ready", "worker = NULL, token = token / 2"),
        ("completed", "worker = NULL, finished_at = created_at, token = token / 2"),
        ("cancelled", "worker = NULL, finished_at = created_at, reason = 'by hand', token = token / 2"),
        ("running", "token = token / 2"),
    ],
)
def test_fault_50_an_operator_edits_a_running_job(site: Site, state: str, more: str) -> None:
    worker = site.worker(lease=5.0).ready()
    id = site.send(Parent(number=10, children=2, gate="a"))
    site.await_line("started", id)
    site.database.execute(f"UPDATE remit.job SET state = '{state}', {more} WHERE id::text = %s", id)
    if state in ("ready", "running"):
        site.await_line("started", id, 2)  # claimed again, or given back by the reconciler first
    site.open("a")
    until(lambda: "outcome refused, the lease was lost" in worker.log, "the first run is refused")
    site.await_final()
    rows = site.database.rows()
    assert rows[id].state == ("completed" if state in ("ready", "running") else state)
    children = sum(row.causation == id for row in rows.values())
    assert children == (2 if state in ("ready", "running") else 0)
    assert rows[id].failures == 0


def test_fault_53_a_queue_is_removed_with_rows_pending(site: Site) -> None:
    """Its jobs are known, under another queue: they run in the slots of that one, and the log says so."""
    ids = site.send_from("tests.faults.keeper", *(f"Retired(number={n})" for n in range(5)))
    rows = site.database.execute("SELECT DISTINCT queue, name FROM remit.job")
    assert rows == [("yard.retired", "yard.note-in-thread")]
    worker = site.worker(lease=1.0)
    site.await_final(*ids)
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}
    assert "jobs yard.note-in-thread wait in the queue yard.retired" in worker.log
    assert all(line["pid"] == worker.pid for line in site.ledger.lines("started"))


def test_fault_95_a_rescue_and_a_completion_meet_on_one_row(site: Site) -> None:
    """A worker is declared dead just when its runs end: each job is completed by one of its runs, once."""
    first, second = site.started(2)
    ids = site.send_all([Parent(number=10 * n, children=1, gate=f"gate-{n % 4}") for n in range(1, 25)], attempts=100)
    until(lambda: len(site.ledger.jobs("started")) == len(ids), "all run")
    for n in range(4):
        site.open(f"gate-{n}")
        for worker in site.database.workers():
            site.database.execute("DELETE FROM remit.worker WHERE id::text = %s", worker)
        until(lambda: len(site.database.workers()) == 2, "both live again")
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert "starts again under a new id" in first.log + second.log
