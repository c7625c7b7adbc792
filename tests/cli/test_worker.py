"""`remit worker` as a real process: its banner, its work, and its ends."""

import json
import re
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest

from tests.cli.harness import HERE, Command, Depot, Harbour, Start, eventually
from tests.servers import PgBouncer


def _banner(lines: list[str]) -> list[str]:
    """What is said before the first line of the log."""
    return lines[: next(place for place, line in enumerate(lines) if re.match(r"\d{4}-\d\d-\d\d ", line))]


def test_a_worker_introduces_itself_works_and_ends_gracefully(each_depot: Depot, start: Start, remit: Command) -> None:
    from depot.messages import Lose, Pack

    ids = each_depot.enqueue(Pack(number=1), Pack(number=2), Lose(number=3))
    worker = start("worker", "depot.serving:app", "--grace", "7")
    worker.wait_for(" is ready")
    eventually(lambda: list(each_depot.states().values()) == ["dead", "completed", "completed"], "the jobs run")

    head, store, process, lease, parcels, reports, warning = _banner(worker.lines)
    id = re.fullmatch(r"remit 0\.\S+  worker (\S{36})", head)
    assert id is not None
    assert re.fullmatch(r"  store    (SQLite|PostgreSQL) .*, schema version 2", store)
    assert process.endswith(f":{worker.popen.pid}")
    assert lease == "  lease    30 s; runs get 7 s to end at a stop"
    assert parcels == "  queues   depot.parcels  4 slots  depot.pack, depot.lose"
    assert reports == "           depot.reports  2 slots  depot.weigh, depot.recount v2, depot.block, depot.orphan"
    assert warning.startswith("  warning  a timeout cannot stop the thread of depot.recount: ")
    assert any(f"INFO    depot.pack {ids[0]}: packing parcel 1" in line for line in worker.lines)
    _is_listed(remit, id[1], worker.popen.pid)

    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert worker.lines[-2].endswith(" INFO    stopping")
    assert re.search(r"INFO    stopped after \S+ \S+: 2 completed, 1 dead$", worker.lines[-1])
    assert remit("workers", "list", "--json").json["workers"] == []


def _is_listed(remit: Command, id: str, pid: int) -> None:
    head, line = remit("workers", "list").out.splitlines()
    assert head.split() == ["ID", "PROCESS", "RUNNING", "SEEN", "UP", "VERSION", "HEALTH"]
    assert line.startswith(f"{id}  ")
    assert f":{pid} " in line
    assert " 0/6 " in line
    [record] = remit("workers", "list", "--json").json["workers"]
    assert (record["id"], record["about"]["queues"]) == (id, {"depot.parcels": 4, "depot.reports": 2})
    text = remit("status").out
    assert "1 worker, 0 of 6 slots busy" in text
    assert " 0/4 " in text


def test_a_worker_tells_whom_it_delivers_to_and_what_reaches_nobody(
    each_harbour: Harbour, start: Start, remit: Command
) -> None:
    from harbour.messages import CargoLanded, LogKept

    each_harbour.vanish("customs.weigh")
    each_harbour.publish(CargoLanded(kind="rum"), LogKept(page=1), CargoLanded(kind="silk"))
    each_harbour.execute("UPDATE remit.event SET state = 'dead' WHERE name = 'port.log-kept'")
    first = start("worker", "harbour.serving:app")
    first.wait_for(" is ready")
    told = [line for line in _banner(first.lines) if line.startswith(("  events", "  warning"))]
    [events, dead, unheard] = told
    assert events == "  events   3 subscriptions; relayed here, kept 7 d after their last delivery; 2 events pending"
    assert dead == "  warning  1 dead event, which no subscription gets: remit events list --state dead"
    assert unheard == (
        "  warning  events without a subscriber: port.fog-rolled-in; subscribe to them, or set audit_only=True on "
        "their classes"
    )
    eventually(lambda: remit("dead", "list", "--json").json["total"] == 1, "the rum is missing")
    [record] = remit("workers", "list", "--json").json["workers"]
    assert record["about"]["subscriptions"] == ["customs.clear", "customs.inspect", "port.count"]
    first.signal(signal.SIGTERM)
    first.end()

    each_harbour.execute("UPDATE remit.subscription SET filling_since = created_at WHERE name = 'customs.clear'")
    second = start("worker", "harbour.serving:app")
    second.wait_for(" is ready")
    warnings = [line for line in _banner(second.lines) if line.startswith("  warning")]
    assert warnings[0] == (
        "  warning  subscription customs.weigh is no longer declared, with 2 deliveries under way: restore its "
        "handler, or run `remit subscriptions retire customs.weigh`"
    )
    assert re.match(
        r"  warning  a back-fill of customs.clear is in progress since .* and holds live events; if its process",
        warnings[1],
    )
    assert not any("does not know" in line for line in warnings), "that it is gone says it better"


def test_the_start_of_a_worker_in_json_tells_the_same(harbour: Harbour, start: Start) -> None:
    worker = start("worker", "harbour.serving:app", "--log-format", "json")
    said = json.loads(worker.wait_for("worker starts"))
    assert said["subscriptions"] == ["customs.clear", "customs.inspect", "port.count"]
    assert (said["events_kept_seconds"], said["events_pending"]) == (604_800, 0)


def test_what_runs_may_end(depot: Depot, start: Start, tmp_path: Path) -> None:
    from depot.messages import Pack

    done = tmp_path / "done"
    [id] = depot.enqueue(Pack(until=str(done)))
    worker = start("worker", "depot.serving")
    worker.wait_for("packing parcel")
    worker.signal(signal.SIGINT)
    worker.wait_for("stopping; 1 run may take 30 s to end, a second signal ends them now")
    done.touch()
    assert worker.end() == 0
    assert depot.states() == {id: "completed"}


def test_a_second_signal_ends_runs_now_at_no_cost(each_depot: Depot, start: Start, remit: Command) -> None:
    from depot.messages import Pack

    [id] = each_depot.enqueue(Pack(until="/nowhere"))
    worker = start("worker", "depot.serving")
    worker.wait_for("packing parcel")
    worker.signal(signal.SIGTERM)
    worker.wait_for("stopping; 1 run")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    [job] = remit("jobs", "show", id, "--json").json["jobs"]
    assert (job["state"], job["failures"]) == ("ready", 0)


def test_a_third_signal_ends_a_worker_whose_loop_is_blocked(depot: Depot, start: Start) -> None:
    from depot.messages import Block

    depot.enqueue(Block(seconds=60))
    worker = start("worker", "depot.serving")
    worker.wait_for("blocking the event loop")

    def another() -> int | None:  # signals of one kind that come together are one
        worker.signal(signal.SIGTERM)
        return worker.popen.poll()

    assert eventually(another, "the third is heard") == 128 + signal.SIGTERM


@pytest.mark.parametrize("module", ["sleepy_import", "sleepy_context"])
def test_a_signal_during_the_start_ends_it_cleanly(depot: Depot, start: Start, tmp_path: Path, module: str) -> None:
    for name, text in _SLEEPY.items():
        (tmp_path / f"{name}.py").write_text(text)
    worker = start("worker", f"{module}:app", PYTHONPATH=str(tmp_path))
    worker.wait_for("asleep")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert "Traceback" not in worker.output


_SLEEPY = {
    "sleepy_import": "import time\nprint('asleep', flush=True)\ntime.sleep(60)\n",
    "sleepy_context": """
import asyncio
from contextlib import asynccontextmanager
from remit import Domain, Job, Remit, Run

class Sleepy(Domain[None]):
    "Takes its time."

sleepy = Sleepy()

class Nap(Job[Sleepy]):
    "Never runs."

@sleepy.handles(Nap)
async def nap(job: Nap, run: Run[Sleepy]) -> None: ...

@sleepy.context
@asynccontextmanager
async def context():
    print("asleep", flush=True)
    await asyncio.sleep(60)
    yield None

app = Remit(domains=[sleepy])
""",
}


def test_a_worker_warns_of_what_somebody_should_mend(depot: Depot, start: Start, remit: Command) -> None:
    from depot.messages import Pack

    first, second, _ = depot.enqueue(Pack(), Pack(), Pack())
    file = sqlite3.connect(depot.url.removeprefix("sqlite:///"))
    with file:
        file.execute("UPDATE remit_job SET name = 'depot.gone', version = 3, line = 7 WHERE id = ?", [first])
        file.execute("UPDATE remit_job SET queue = 'depot.old', line = 8 WHERE id = ?", [second])
    file.close()
    remit("queues", "pause", "depot.parcels", "--by", "ops")
    worker = start("worker", "depot.serving", "--lease", "2", REMIT_DATABASE_URL=f"{depot.url}?synchronous=normal")
    worker.wait_for(" is ready")
    warnings = [line.removeprefix("  warning  ") for line in worker.lines if line.startswith("  warning  ")]
    assert [warning.partition(":")[0].split(",")[0] for warning in warnings] == [
        "synchronous=normal in the URL",
        "a lease of 2 s is short",
        "a timeout cannot stop the thread of depot.recount",
        "queue depot.parcels is paused by ops",
        "ready jobs that this worker does not know",
        "jobs wait in queues that are not declared",
    ]
    assert warnings[3].endswith(": remit queues resume depot.parcels")
    assert warnings[4].endswith(": depot.gone v3")
    assert "depot.old" in warnings[5]


def test_a_worker_behind_a_pooler_works_and_says_what_it_costs(
    postgres_url: str, pgbouncer: PgBouncer, start: Start, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", pgbouncer.through(postgres_url))
    monkeypatch.setenv("REMIT_APP", "depot.pooled")
    assert remit("migrate").status == 0
    worker = start("worker")
    worker.wait_for(" is ready")
    assert "  warning  behind a pooler nobody can LISTEN" in worker.output
    assert "1 worker, 0 of 6 slots busy" in remit("status").out
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0


def test_the_log_in_json_is_json_alone(depot: Depot, start: Start) -> None:
    from depot.messages import Lose, Pack

    [_, lost] = depot.enqueue(Pack(number=1), Lose(number=2))
    worker = start("worker", "depot.serving", REMIT_LOG_FORMAT="json")
    worker.wait_for("job dead")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    lines = [json.loads(line) for line in worker.lines]
    assert lines[0]["message"] == "worker starts"
    assert lines[0]["queues"] == {"depot.parcels": 4, "depot.reports": 2}
    [packing] = [line for line in lines if line["message"] == "packing parcel 1"]
    assert (packing["remit_job"], packing["level"]) == ("depot.pack", "info")
    [dead] = [line for line in lines if line["message"].startswith("job dead")]
    assert (dead["level"], lost in dead["message"]) == ("error", True)


def test_the_log_level_is_kept(depot: Depot, start: Start) -> None:
    from depot.messages import Pack

    [id] = depot.enqueue(Pack())
    worker = start("worker", "depot.serving", "--log-level", "warning")
    eventually(lambda: depot.states()[id] == "completed", "the job runs")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert "INFO" not in worker.output


def test_an_application_that_configures_logging_keeps_its_way(depot: Depot, start: Start, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "import logging\nlogging.basicConfig(level='INFO', format='MINE %(message)s')\nfrom depot.serving import app\n"
    )
    worker = start("worker", "loud:app", PYTHONPATH=str(tmp_path))
    worker.wait_for("MINE worker ")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0


def test_a_start_that_fails_is_one_line(depot: Depot, start: Start, tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(
        "from remit import Domain, Job, Remit\n"
        "class Idle(Domain[None]):\n    'No handlers.'\n"
        "idle = Idle()\nclass Wait(Job[Idle]):\n    'Never handled.'\n"
        "app = Remit(domains=[idle])\n"
    )
    worker = start("worker", "idle", PYTHONPATH=str(tmp_path))
    assert worker.end() == 1
    assert re.fullmatch(r"error: .*idle\.wait.* \[missing-handler\]", worker.output)


def _workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]


def test_several_processes_are_supervised(each_depot: Depot, start: Start, remit: Command) -> None:
    from depot.messages import Pack

    supervisor = start("worker", "depot.serving", "--processes", "2")
    supervisor.wait_for(" is ready", times=2)
    assert supervisor.output.count("  store    ") == 1  # one of them introduces them all
    assert ", the first of 2" in supervisor.output

    victim, survivor = _workers_of(supervisor.popen.pid)
    victim.kill()
    supervisor.wait_for("died: signal SIGKILL; it is started again")
    supervisor.wait_for(" is ready", times=3)
    assert survivor.is_running()
    pids = {worker.pid for worker in _workers_of(supervisor.popen.pid)}
    assert len(pids) == 2
    assert victim.pid not in pids

    ids = each_depot.enqueue(*(Pack(number=number) for number in range(20)))
    eventually(lambda: {each_depot.states()[id] for id in ids} == {"completed"}, "the jobs run")
    supervisor.signal(signal.SIGTERM)
    assert supervisor.end() == 0
    assert supervisor.output.count(" stopped after ") == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert all(worker["pid"] not in pids for worker in remit("workers", "list", "--json").json["workers"])


def test_workers_end_when_their_supervisor_is_killed(depot: Depot, start: Start, tmp_path: Path) -> None:
    from depot.messages import Pack

    done = tmp_path / "done"
    supervisor = start("worker", "depot.serving", "--processes", "2")
    supervisor.wait_for(" is ready", times=2)
    workers = _workers_of(supervisor.popen.pid)
    ids = depot.enqueue(*(Pack(until=str(done)) for _ in range(3)))
    supervisor.wait_for("packing parcel", times=3)
    supervisor.popen.kill()
    supervisor.wait_for(" stopping", times=2)
    done.touch()  # they end gracefully
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert (len(gone), alive) == (2, [])
    assert {depot.states()[id] for id in ids} == {"completed"}


def test_a_signal_to_every_process_at_once_is_one(depot: Depot, start: Start, tmp_path: Path) -> None:
    """So does a service manager stop a group; what runs must get its time all the same."""
    from depot.messages import Pack

    done = tmp_path / "done"
    [id] = depot.enqueue(Pack(until=str(done)))
    supervisor = start("worker", "depot.serving", "--processes", "2")
    supervisor.wait_for("packing parcel")
    supervisor.wait_for(" is ready", times=2)
    for process in (supervisor.popen, *_workers_of(supervisor.popen.pid)):
        process.send_signal(signal.SIGTERM)
    supervisor.wait_for(" stopping; 1 run")
    supervisor.wait_for(" stopped after ")  # the other has ended: every message has come
    done.touch()
    assert supervisor.end() == 0
    assert depot.states() == {id: "completed"}


def test_a_second_signal_to_the_supervisor_ends_runs_now(depot: Depot, start: Start) -> None:
    from depot.messages import Pack

    [id] = depot.enqueue(Pack(until="/nowhere"))
    supervisor = start("worker", "depot.serving", "--processes", "2", "--grace", "60")
    supervisor.wait_for("packing parcel")
    supervisor.signal(signal.SIGINT)
    supervisor.wait_for(" stopping; 1 run")
    supervisor.signal(signal.SIGINT)
    assert supervisor.end() == 0
    assert depot.states() == {id: "ready"}


def test_what_keeps_one_from_starting_is_said_once(start: Start, postgres_url: str) -> None:
    supervisor = start("worker", "depot.serving", "--processes", "4", REMIT_DATABASE_URL=postgres_url)
    assert supervisor.end() == 4
    assert len(supervisor.lines) == 1
    assert "run `remit migrate depot.serving` [wrong-schema]" in supervisor.output


def _can_unshare() -> bool:
    import subprocess

    try:
        return subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_as_the_first_process_of_a_container_it_heeds_signals_and_reaps_orphans(depot: Depot, start: Start) -> None:
    if not _can_unshare():
        pytest.skip("this machine does not let us make a process namespace")
    from depot.messages import Orphan

    namespace = start("worker", "depot.serving", prefix=("unshare", "--pid", "--fork", "--kill-child"))
    namespace.wait_for(" is ready")
    [first] = psutil.Process(namespace.popen.pid).children()
    [worker] = first.children()
    [id] = depot.enqueue(Orphan())
    eventually(lambda: depot.states()[id] == "completed", "the job leaves an orphan")
    eventually(lambda: first.children() == [worker], "the orphan has ended, and is no zombie")
    first.send_signal(signal.SIGTERM)
    assert namespace.end() == 0
    assert " stopped after " in namespace.output


def test_a_worker_serves_the_queues_of_its_options(depot: Depot, start: Start, remit: Command) -> None:
    from depot.messages import Pack, Recount

    [pack, recount] = depot.enqueue(Pack(number=1), Recount(shelf="B7"))
    worker = start("worker", "--queue", "depot.parcels", REMIT_LOG_LEVEL="debug")
    worker.wait_for("packing parcel 1")
    assert "depot.reports" not in worker.output, "the banner shows what this worker serves"
    [record] = remit("workers", "list", "--json").json["workers"]
    assert record["about"]["queues"] == {"depot.parcels": 4}
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0
    assert (depot.states()[pack], depot.states()[recount]) == ("completed", "ready")
    worker = start("worker", REMIT_EXCLUDE="depot.parcels,depot.reports")
    assert worker.end() == 2
    assert "leave this worker without any queue" in worker.output


def test_a_worker_that_reloads_runs_the_code_of_the_last_change(depot: Depot, start: Start, tmp_path: Path) -> None:
    from depot.messages import Pack

    module = tmp_path / "served.py"
    code = "from depot.app import make_app\nprint('release {}', flush=True)\napp = make_app()\n"
    module.write_text(code.format(1))
    worker = start("worker", "served:app", "--reload", folder=tmp_path, PYTHONPATH=str(HERE))
    worker.wait_for("release 1")
    worker.wait_for(" is ready")
    module.write_text("def not_python(")
    worker.wait_for("SyntaxError")
    module.write_text(code.format(2))
    worker.wait_for("release 2")
    worker.wait_for(" is ready", times=2)
    [id] = depot.enqueue(Pack(number=1))
    worker.wait_for("packing parcel 1")
    worker.signal(signal.SIGINT)
    assert worker.end() == 0
    assert depot.states()[id] == "completed"


def test_reload_and_processes_are_not_mixed(depot: Depot, remit: Command) -> None:
    result = remit("worker", "--reload", "--processes", "2")
    assert (result.status, "--reload runs one worker" in result.err) == (2, True)
