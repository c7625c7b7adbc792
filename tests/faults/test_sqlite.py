"""Faults 34 to 41, 92 and 93: one file, many processes, and an application that wants to write too."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remit import Remit
from remit.db.sqlite import place
from remit.db.sqlite.turns import Turns
from remit.db.transaction import Role
from remit.errors import ConfigurationError, StoreBusy
from tests.faults.application import Deposit, Fork, Hold, Note, Parent, yard
from tests.faults.harness import ROOT, Site, WorkerProcess, alive, until

pytestmark = pytest.mark.fault


def file_beat(site: Site, worker: WorkerProcess) -> int:
    """The counter of a worker in its file beside the database, which no writer can hold up."""
    path = site.database.path
    return int((path.with_name(path.name + "-remit") / "workers" / worker.id).read_text().split()[0])


def test_fault_34_the_write_lock_is_held_by_another_process(sqlite_site: Site) -> None:
    site = sqlite_site
    impatient = site.url + "?busy_timeout=0.05"
    worker = site.worker(url=impatient, lease=5.0).ready()
    ids = site.send_all([Hold(number=n, gate="a") for n in range(25)])  # more than there are slots
    parent = site.send(Parent(number=100, children=2), delay=0.3)
    until(lambda: len(site.ledger.jobs("started")) == 20, "every slot is taken")
    with site.database.connection(transaction=True) as application:
        application.execute("INSERT INTO effect VALUES ('application', 0, 0)")
        site.open("a")
        for part in ("completer", "promoter", "leader"):
            until(lambda part=part: f"{part} cannot work" in worker.log, f"{part} is told")
        with Remit(impatient, domains=[yard]).bound() as other, pytest.raises(StoreBusy, match="pass tx="):
            yard.sync.enqueue(Note(number=1))
        other.sync.__exit__()
        inside = yard.sync.enqueue(Note(number=2), tx=application).id
        application.execute("COMMIT")
    site.ledger.write("sent", inside)
    site.database.execute("DELETE FROM effect")
    site.await_final(*ids, parent, inside)
    site.await_final()
    rows = site.check()
    assert {(row.state, row.failures) for row in rows.values()} == {("completed", 0)}
    assert worker.log.count("completer cannot work") == 1, "told once"
    assert "completer works again" in worker.log


def test_fault_38_a_process_is_killed_with_the_write_lock(sqlite_site: Site) -> None:
    site = sqlite_site
    victim, other = site.started(2)
    id = site.send(Deposit(number=1, gate="a"))
    site.await_line("deposited", id)
    if site.database.rows()[id].worker == other.id:
        victim, other = other, victim
    victim.kill()
    later = site.send(Parent(number=10, children=3))  # waits for nobody
    site.await_final(later)
    site.open("a")
    site.await_final()
    site.check()
    assert site.database.execute("PRAGMA integrity_check") == [("ok",)]
    assert other.process.poll() is None


def test_fault_38_a_process_that_stands_with_the_write_lock_does_not_keep_others_from_stopping(
    sqlite_site: Site,
) -> None:
    site = sqlite_site
    holder, other = site.started(2, grace=0.5, url=site.url + "?busy_timeout=0.2")
    id = site.send(Deposit(number=1, gate="a"))
    site.await_line("deposited", id)
    if site.database.rows()[id].worker == other.id:
        holder, other = other, holder
    holder.freeze()
    assert other.stop() == 0
    holder.thaw()
    site.open("a")
    site.await_final(id)
    site.check()


def test_fault_39_fork_after_open(site: Site) -> None:
    site.worker()
    script = [sys.executable, "-m", "tests.faults.fork_main", site.url, str(site.folder)]
    subprocess.run(script, cwd=ROOT, check=True, timeout=60)
    site.await_final()
    rows = site.check()
    assert sorted(row.number for row in rows.values()) == list(range(80))


def test_fault_40_a_network_file_system_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        f"files:/export {tmp_path}/shared\\040files nfs4 rw 0 0\n"
        f"/dev/sdb1 {tmp_path}/shared\\040files/local ext4 rw 0 0\n"
    )
    monkeypatch.setattr(place, "Path", lambda path: mounts if path == "/proc/self/mounts" else Path(path))
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\).*local disk, or PostgreSQL"):
        Remit(f"sqlite:///{tmp_path}/shared%20files/shop.db", domains=[])
    (tmp_path / "link").symlink_to(tmp_path / "shared files")
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\)"):
        Remit(f"sqlite:///{tmp_path}/link/shop.db", domains=[])
    Remit(f"sqlite:///{tmp_path}/shared%20files/local/shop.db", domains=[])
    Remit(f"sqlite:///{tmp_path}/shop.db", domains=[])


def test_fault_40_a_file_that_is_mounted_alone_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a container may have it: SQLite's log would lie beside it on each side, and be two."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sda1 {tmp_path}/shop.db ext4 rw 0 0\n")
    (tmp_path / "shop.db").touch()
    monkeypatch.setattr(place, "Path", lambda path: mounts if path == "/proc/self/mounts" else Path(path))
    with pytest.raises(ConfigurationError, match=r"shop.db is mounted as a single file, .*: mount its folder"):
        Remit(f"sqlite:///{tmp_path}/shop.db", domains=[])


def test_fault_40_the_file_is_moved_while_nobody_works(sqlite_site: Site, tmp_path: Path) -> None:
    site = sqlite_site
    victim = site.worker().ready()
    ids = site.send_all([Hold(number=1, gate="a"), Parent(number=10, children=2, gate="a")])
    for id in ids:
        site.await_line("started", id)
    victim.kill()
    site.app.sync.__exit__()
    site.database.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in site.database.path.parent.glob("remit.db*"):
        shutil.move(file, elsewhere / file.name)
    site.url = site.worker_url = f"sqlite:///{elsewhere / 'remit.db'}"
    site.database.url = site.url
    site.open("a")
    site.worker()
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}


def test_fault_41_a_long_write_transaction_of_the_application_costs_no_lease(sqlite_site: Site) -> None:
    site = sqlite_site
    workers = site.started(2, lease=2.0)
    ids = site.send_all([Hold(number=n, gate="a") for n in range(4)])
    for id in ids:
        site.await_line("started", id)
    with site.database.connection(transaction=True) as application:
        starts = [file_beat(site, worker) for worker in workers]

        def beats() -> int:
            return min(file_beat(site, worker) - start for worker, start in zip(workers, starts, strict=True))

        until(lambda: beats() > 10, "two leases pass")
        application.execute("COMMIT")
    site.open("a")
    site.await_final()
    rows = site.check()
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("completed", 0)}
    assert all(site.ledger.count("started", id) == 1 for id in ids)
    assert not any("lease lost" in worker.log for worker in workers)


BATCHES = 150
GREEDY = f"""
import sys, threading, time
from remit.db.sqlite.store import SqliteStore
from remit.db.transaction import Role
def write_on(role):
    database = SqliteStore(sys.argv[1]).blocking(Role(role))
    async def write(tx):
        await tx.execute("INSERT INTO batch DEFAULT VALUES")
        time.sleep(0.003)
    for _ in range({BATCHES} // len(sys.argv[2:])):
        database.run(write)
threads = [threading.Thread(target=write_on, args=[role]) for role in sys.argv[2:]]
for thread in threads:
    thread.start()
"""


@pytest.mark.parametrize("roles", [[Role.CLAIM], [Role.LEADER], [Role.CLAIM, Role.COMPLETE, Role.RELAY]], ids=str)
@pytest.mark.parametrize("workers", [1, 2])
def test_fault_92_the_application_writes_on_beside_greedy_workers(
    sqlite_url: str, roles: list[Role], workers: int
) -> None:
    """Connections of workers write back to back, which a drain with handlers in between only does at times.

    Each write of the application notes how many batches it has come after. Measured, on an idle machine and on a busy
    one: 135 writes and more beside 150 batches; without the pauses, none to 8.
    """
    path = sqlite_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as application:
        application.execute("PRAGMA journal_mode = WAL")
        application.execute("CREATE TABLE batch (number INTEGER PRIMARY KEY)")
        application.execute("CREATE TABLE effect (batches INTEGER)")
        command = [sys.executable, "-c", GREEDY, sqlite_url, *roles]
        greedy = [subprocess.Popen(command, cwd=ROOT) for _ in range(workers)]
        while any(worker.poll() is None for worker in greedy):
            application.execute("INSERT INTO effect SELECT count(*) FROM batch")
            time.sleep(0.002)  # it has other things to do as well
        assert [worker.wait() for worker in greedy] == [0] * workers
        batches = BATCHES * workers
        between = "SELECT count(*) FROM effect WHERE batches BETWEEN 1 AND ?"
        [(writes,)] = application.execute(between, [batches - 1])
    assert writes > batches / 4, f"{writes} writes of the application beside {batches} of {workers} workers"


def test_fault_93_a_forked_child_does_not_keep_a_killed_worker_alive(site: Site) -> None:
    victim = site.worker().ready()
    id = site.send(Fork(number=1, gate="a"))
    site.await_line("forked", id)
    [child] = [line["pid"] for line in site.ledger.lines("forked", id)]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert alive(child)
    other = site.worker().ready()
    try:
        until(lambda: site.database.workers() == {other.id}, "the victim is declared dead")
        assert alive(child)
    finally:
        site.open("a")
    site.await_final(id)
    assert site.check()[id].state == "completed"


KILLED_IN_ITS_TURN = """
import os, signal, sys, time
from pathlib import Path
from remit.db.sqlite.turns import Turns
from remit.db.transaction import Role
Turns(Path(sys.argv[1])).take()
child = os.fork()
if child == 0:
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    os._exit(0)
os.write(1, str(child).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_fault_93_a_forked_child_does_not_keep_the_turn_of_a_killed_worker(tmp_path: Path) -> None:
    """Its file is locked while it writes: inherited by a child, that lock would outlive it."""
    lock, gate = tmp_path / "turn.lock", tmp_path / "gate"
    victim = subprocess.Popen([sys.executable, "-c", KILLED_IN_ITS_TURN, lock, gate], stdout=subprocess.PIPE, cwd=ROOT)
    assert victim.wait(30) == -signal.SIGKILL
    assert victim.stdout is not None
    child = int(os.read(victim.stdout.fileno(), 20))
    victim.stdout.close()
    took = threading.Event()

    def take() -> None:
        turns = Turns(lock)
        turns.take()
        took.set()
        turns.give()
        turns.close()

    other = threading.Thread(target=take, daemon=True)
    other.start()
    try:
        assert took.wait(20), "another worker gets its turn"
        assert alive(child)
    finally:
        gate.touch()
        other.join()
