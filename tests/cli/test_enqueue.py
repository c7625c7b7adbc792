"""`remit enqueue`: one job by its name, from the command line."""

import io
import subprocess
import sys
import uuid

import pytest

from tests.cli.harness import Command, Depot


def test_a_job_is_sent_by_its_name_with_its_payload(each_depot: Depot, remit: Command) -> None:
    result = remit("enqueue", "depot.pack", '{"number": 7}', "--label", "by hand", "--by", "ops", "--priority", "-2")
    assert result.err == ""
    id, name = result.out.split()
    [job] = remit("jobs", "show", id, "--json").json["jobs"]
    assert (name, job["state"], job["payload"]) == ("depot.pack", "ready", {"number": 7})
    assert (job["label"], job["requested_by"], job["priority"]) == ("by hand", {"name": "ops"}, -2)


def test_the_application_may_stand_first_and_the_payload_on_standard_input(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"shelf": "B7"}'))
    result = remit("enqueue", "depot.app:make_app", "depot.recount", "@-", "--delay", "60", "--json")
    assert result.err == ""
    [job] = remit("jobs", "show", result.json["id"], "--json").json["jobs"]
    assert (job["state"], job["payload"]) == ("scheduled", {"shelf": "B7"})


def test_an_id_of_ones_own_sends_once(depot: Depot, remit: Command) -> None:
    id = str(uuid.uuid4())
    assert remit("enqueue", "depot.pack", "--id", id).out == f"{id} depot.pack\n"
    assert remit("enqueue", "depot.pack", "--id", id).out == f"{id} depot.pack already existed: it is a duplicate\n"
    assert len(depot.states()) == 1


@pytest.mark.parametrize(
    "argv, words",
    [
        ((), "takes the name of a job and its payload"),
        (("depot.pack", "{", "x"), "takes the name of a job and its payload"),
        (("depot.pak",), "Did you mean 'depot.pack'?"),
        (("depot.pack", "{number"), "the payload is not JSON"),
        (("depot.pack", "@missing.json"), "missing.json cannot be read: No such file"),
        (("depot.pack", "[1]"), "the payload is list: write a JSON object"),
        (("depot.lose", "{}"), "number"),
        (("depot.pack", '{"number": "many"}'), "number"),
        (("depot.pack", "--at", "soon"), "--at 'soon' is not a time"),
    ],
)
def test_what_cannot_be_sent_is_an_error_that_names_it(
    depot: Depot, remit: Command, argv: tuple[str, ...], words: str
) -> None:
    result = remit("enqueue", *argv)
    assert result.status != 0
    assert words in result.err
    assert depot.states() == {}


def test_the_package_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "remit", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.startswith("remit ")
