"""`remit dead`: list and replay."""

import io
import sys
import uuid

import pytest

from tests.cli.harness import Command, Depot, Start, Terminal, eventually


def _letters(depot: Depot) -> list[str]:
    from depot.messages import Lose, Pack

    ids = depot.enqueue(Lose(number=1), Lose(number=22), Lose(number=1), Pack())
    depot.drain()
    return ids[:3]


@pytest.fixture
def letters(depot: Depot) -> list[str]:
    """Three dead letters, the oldest first; the second died of another parcel."""
    return _letters(depot)


@pytest.fixture
def each_letters(each_depot: Depot) -> list[str]:
    """The same, on each engine in turn."""
    return _letters(each_depot)


def test_list_says_why_they_died(letters: list[str], remit: Command) -> None:
    head, *lines = remit("dead", "list").out.splitlines()
    assert head.split() == ["ID", "JOB", "DIED", "QUEUE", "REASON"]
    assert [line.split()[0] for line in lines] == letters[::-1]
    assert lines[1].endswith("failed 1 of 1 attempts; last: LookupError: parcel 22 is not on its shelf")


def test_list_filters_by_reason(each_letters: list[str], remit: Command) -> None:
    found = remit("dead", "list", "--reason", "parcel 1 ", "--limit", "1", "--json").json
    assert [job["id"] for job in found["dead"]] == [each_letters[2]]
    assert (found["after"], found["total"]) == (each_letters[2], 2)
    found = remit("dead", "list", "--reason", "parcel 1 ", "--after", each_letters[2], "--json").json
    assert ([job["id"] for job in found["dead"]], found["after"]) == ([each_letters[0]], None)


def test_list_filters_by_job_queue_and_domain(letters: list[str], remit: Command) -> None:
    assert remit("dead", "list", "--job", "depot.pack").out == "no dead letters that match\n"
    assert remit("dead", "list", "--queue", "depot.reports").out == "no dead letters that match\n"
    assert remit("dead", "list", "--domain", "depot", "--json").json["total"] == 3


def test_an_empty_list_says_so(depot: Depot, remit: Command) -> None:
    assert remit("dead", "list").out == "no dead letters\n"
    assert remit("dead", "replay", "--yes").out == "no dead letters to replay\n"


def test_replay_by_filter_takes_those_alone(each_letters: list[str], remit: Command, each_depot: Depot) -> None:
    assert remit("dead", "replay", "--reason", "parcel 1 ", "--dry-run").out == "2 dead letters would be replayed\n"
    assert set(each_depot.states().values()) == {"dead", "completed"}
    assert remit("dead", "replay", "--reason", "parcel 1 ", "--yes").out == "2 dead letters replayed\n"
    assert [each_depot.states()[id] for id in each_letters] == ["ready", "dead", "ready"]


def test_replay_by_id_does_not_ask(letters: list[str], remit: Command, depot: Depot) -> None:
    assert remit("dead", "replay", letters[1], "--json").json == {"replayed": 1}
    assert [depot.states()[id] for id in letters] == ["dead", "ready", "dead"]
    again = remit("dead", "replay", letters[1])
    assert (again.status, again.out) == (1, "")
    assert "only a dead letter can be replayed" in again.err


def test_replay_asks_before_it_takes_many(
    letters: list[str], remit: Command, depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    result = remit("dead", "replay")
    assert result.status == 1
    assert result.err == "Replay 3 dead letters? [y/N] error: nothing was replayed [refused]\n"
    assert "ready" not in depot.states().values()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert remit("dead", "replay").out == "3 dead letters replayed\n"


def test_replay_without_anybody_to_ask_is_refused(
    letters: list[str], remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    result = remit("dead", "replay")
    assert result.status == 2
    assert "There is no terminal to ask on: pass --yes, or look first with --dry-run [usage]" in result.err


def test_ids_and_filters_do_not_mix(depot: Depot, remit: Command) -> None:
    result = remit("dead", "replay", str(uuid.UUID(int=7)), "--job", "depot.lose")
    assert (result.status, "ids and filters together" in result.err) == (2, True)


def test_a_dry_run_of_an_unknown_id_finds_nothing(depot: Depot, remit: Command) -> None:
    assert remit("dead", "replay", str(uuid.UUID(int=7)), "--dry-run").status == 3


def test_replay_in_flight_waits_for_workers(
    each_letters: list[str], remit: Command, each_depot: Depot, start: Start
) -> None:
    worker = start("worker", "depot.serving")
    worker.wait_for(" is ready")
    assert remit("dead", "replay", "--in-flight", "1", "--yes").out == "3 dead letters replayed\n"
    worker.wait_for("job dead: depot.lose", 3 - 1)  # the last may not have died again yet
    eventually(lambda: [each_depot.states()[id] for id in each_letters] == ["dead"] * 3, "they die again")


def test_replay_in_flight_without_a_worker_says_so(
    letters: list[str], remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("remit.client.faces.time.sleep", sleep)
    result = remit("dead", "replay", "--in-flight", "2", "--yes")
    assert result.status == 130
    assert result.err == "warning: no worker is running: --in-flight waits for one\n"
    states = {job["id"]: job["state"] for job in remit("jobs", "list", "--job", "depot.lose", "--json").json["jobs"]}
    assert [states[id] for id in letters] == ["ready", "ready", "dead"]


def test_replay_takes_what_died_before(each_letters: list[str], remit: Command) -> None:
    assert remit("dead", "replay", "--dead-before", "1h", "--yes").out == "no dead letters to replay\n"
    assert remit("dead", "replay", "--dead-before", "0s", "--dry-run").out == "3 dead letters would be replayed\n"


def test_in_flight_is_for_filters(letters: list[str], remit: Command) -> None:
    result = remit("dead", "replay", letters[0], "--in-flight", "2")
    assert (result.status, "ids and --in-flight together" in result.err) == (2, True)
    assert remit("dead", "replay", "--in-flight", "0").status == 2
