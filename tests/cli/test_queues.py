"""`remit queues`, and `remit status` and `remit workers` while nobody works (see `test_worker.py`)."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.cli.harness import HERE, Command, Depot


def test_list_shows_every_declared_queue(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Lose, Pack, Weigh

    each_depot.enqueue(Pack(), Lose(number=1), Weigh(number=1))
    each_depot.drain()
    each_depot.enqueue(Pack(), Pack())
    head, parcels, reports = remit("queues", "list").out.splitlines()
    titles = "QUEUE READY OLDEST SCHEDULED RUNNING LONGEST RETRYING DEAD FAILED DONE"
    assert head.split() == titles.split()
    assert parcels.split()[:2] == ["depot.parcels", "2"]
    assert parcels.split()[-3:] == ["1", "0.02/s", "0.02/s"]
    assert reports.split() == ["depot.reports", "0", "-", "1", "0", "-", "1", "0", "0.02/s", "0/s"]
    found = {queue["queue"]: queue for queue in remit("queues", "list", "--json").json["queues"]}
    assert (found["depot.parcels"]["ready"], found["depot.parcels"]["dead"]) == (2, 1)
    assert found["depot.parcels"]["ended"] == {"completed": 1, "dead": 1}


def test_pause_and_resume(each_depot: Depot, remit: Command) -> None:
    result = remit("queues", "pause", "depot.parcels", "depot.reports", "--by", "ops")
    assert result.out == "depot.parcels paused\ndepot.reports paused\n"
    assert "paused by ops, " in remit("queues", "list").out
    assert remit("queues", "resume", "depot.parcels", "--json").json == {"resumed": ["depot.parcels"]}
    assert remit("queues", "resume", "depot.parcels").out == "depot.parcels was not paused\n"
    found = {queue["queue"]: queue["paused_by"] for queue in remit("queues", "list", "--json").json["queues"]}
    assert found == {"depot.parcels": None, "depot.reports": "ops"}


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_queue_is_not_found_and_nothing_is_done(depot: Depot, remit: Command, verb: str) -> None:
    result = remit("queues", verb, "depot.parcels", "depot.parcel")
    assert (result.status, result.out) == (3, "")
    unlike = remit("queues", "pause", "nope")
    assert (unlike.status, unlike.err.partition(".")[0]) == (3, "error: there is no queue 'nope'")
    assert " The queues are depot.parcels, depot.reports." in unlike.err
    assert result.err == "error: there is no queue 'depot.parcel'. Did you mean 'depot.parcels'? [queue-not-found]\n"
    assert not any(queue["paused_at"] for queue in remit("queues", "list", "--json").json["queues"])


def test_no_workers(depot: Depot, remit: Command) -> None:
    assert remit("workers", "list").out == "no workers: start one with `remit worker`\n"
    assert remit("workers", "list", "--json").json == {"workers": [], "leaders": []}


def test_status_in_a_pipe_is_one_screen(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Lose, Pack

    each_depot.enqueue(Pack(), Lose(number=1))
    each_depot.drain()
    text = remit("status").out
    store, workers, _, head, parcels, reports, total, _, rates = text.splitlines()
    assert store.startswith(("SQLite ", "PostgreSQL "))
    assert ", schema version " in store
    assert workers == "no workers: start one with `remit worker`"
    assert head.startswith("QUEUE")
    assert [line.split()[0] for line in (parcels, reports, total)] == ["depot.parcels", "depot.reports", "all"]
    assert rates == "in the last 10 s: completed 0.10/s, dead 0.10/s, failed attempts 0.10/s"


def test_status_in_json_is_one_document(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Pack

    each_depot.enqueue(Pack(), Pack())
    document = remit("status", "--json").json
    assert document["totals"] == {
        "ready": 2, "scheduled": 0, "running": 0, "dead": 0, "retrying": 0, "completed_per_second": 0,
        "failed_per_second": 0,
    }  # fmt: skip
    assert document["schema_version"] >= 1
    assert document["leaders"] == []


def test_status_that_is_watched_in_json_is_a_line_each(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, None, KeyboardInterrupt])

    def sleep(_: float) -> None:
        if (end := next(looks)) is not None:
            raise end

    monkeypatch.setattr("remit.cli.commands.status.time.sleep", sleep)
    result = remit("status", "--watch", "--json")
    assert result.status == 0  # Ctrl-C is how one ends it
    assert [json.loads(line)["totals"]["ready"] for line in result.out.splitlines()] == [0, 0, 0]


def test_status_in_a_terminal_is_live_until_ctrl_c(depot: Depot) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "remit.cli", "status", "--interval", "0.1"],
        cwd=HERE, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while seen.count(b"QUEUE") < 3:
        seen += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            seen += os.read(master, 4096)
        except OSError:  # the last of them has closed the terminal
            break
    assert process.wait(20) == 0
    assert b"Traceback" not in seen
    os.close(master)
