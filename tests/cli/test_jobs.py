"""`remit jobs`: list, show, retry, cancel, delete."""

import re
import uuid

import pytest

from tests.cli.harness import Command, Depot

UNKNOWN = str(uuid.UUID(int=7))


def _fates(depot: Depot) -> dict[str, str]:
    from depot.messages import Lose, Pack, Recount, Weigh

    [completed, dead, scheduled, skipped] = depot.enqueue(
        Pack(number=1), Lose(number=2), Weigh(number=3), Recount(shelf="B7"), label="order 7", requested_by="anna"
    )
    depot.drain()
    [ready] = depot.enqueue(Pack(number=5))
    return {"completed": completed, "dead": dead, "scheduled": scheduled, "skipped": skipped, "ready": ready}


@pytest.fixture
def fates(depot: Depot) -> dict[str, str]:
    """A job in each state that a drain leaves behind, by that state."""
    return _fates(depot)


@pytest.fixture
def each_fates(each_depot: Depot) -> dict[str, str]:
    """The same, on each engine in turn."""
    return _fates(each_depot)


def test_list_shows_one_job_a_line_newest_first(fates: dict[str, str], remit: Command) -> None:
    result = remit("jobs", "list")
    head, *lines = result.out.splitlines()
    assert head.split() == ["ID", "STATE", "JOB", "TRY", "WHEN", "QUEUE", "NOTE"]
    assert [line.split()[:4] for line in lines] == [
        [fates["ready"], "ready", "depot.pack", "0/3"],
        [fates["skipped"], "skipped", "depot.recount", "v2"],
        [fates["scheduled"], "scheduled", "depot.weigh", "1/3"],
        [fates["dead"], "dead", "depot.lose", "1/1"],
        [fates["completed"], "completed", "depot.pack", "1/3"],
    ]
    assert "shelf B7 is empty" in lines[1]
    assert " in 59 min " in lines[2] or " in 60 min " in lines[2]
    assert lines[4].endswith("depot.parcels  order 7")
    assert not any(line.endswith(" ") for line in lines)


def test_list_filters(each_fates: dict[str, str], remit: Command) -> None:
    def ids(*argv: str) -> list[str]:
        return [job["id"] for job in remit("jobs", "list", "--json", *argv).json["jobs"]]

    assert ids("--state", "dead") == [each_fates["dead"]]
    assert ids("--job", "depot.pack") == [each_fates["ready"], each_fates["completed"]]
    assert ids("--queue", "depot.reports") == [each_fates["skipped"], each_fates["scheduled"]]
    assert ids("--domain", "depot", "--label", "order 7", "--state", "skipped") == [each_fates["skipped"]]
    assert ids("--reason", "B7 is") == [each_fates["skipped"]]
    assert ids("--reason", "B7 is", "--state", "dead") == []
    assert ids("--requested-by", "anna", "--state", "dead") == [each_fates["dead"]]
    assert ids("--requested-by", "bert") == []
    assert ids("--correlation", each_fates["dead"]) == [each_fates["dead"]]
    assert ids("--failed") == [each_fates["scheduled"]]
    assert ids("--since", "1h", "--state", "ready") == [each_fates["ready"]]
    assert ids("--until", "1h") == []


@pytest.mark.parametrize(
    "option, name, hint",
    [
        ("--job", "depot.pak", "Did you mean 'depot.pack'?"),
        ("--queue", "depot.parcel", "Did you mean 'depot.parcels'?"),
        ("--domain", "nobody", "There are depot."),
    ],
)
def test_a_name_that_is_neither_declared_nor_stored_is_an_error(
    depot: Depot, remit: Command, option: str, name: str, hint: str
) -> None:
    for command in (("jobs", "list"), ("jobs", "cancel", "--yes"), ("dead", "list"), ("dead", "replay", "--yes")):
        result = remit(*command, option, name)
        assert result.status == 2, command
        assert (
            f"{option} {name}: no {option[2:]} of that name is declared, and the store has none. {hint}" in result.err
        )


def test_jobs_of_a_tenant_are_found_by_their_scope(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Pack

    first, second = each_depot.enqueue(Pack(number=1), Pack(number=2))
    each_depot.set_scope(first, '{"organization_id":"acme","project":7}')
    each_depot.set_scope(second, '{"organization_id":"acme","project":"7"}')

    def ids(*argv: str) -> list[str]:
        return [job["id"] for job in remit("jobs", "list", "--json", *argv).json["jobs"]]

    assert ids("--scope", "organization_id=acme") == [second, first]
    assert ids("--scope", "organization_id=acme", "--scope", "project=7") == [first]
    assert ids("--scope", "organization_id=other") == []
    assert "is not KEY=VALUE" in remit("jobs", "list", "--scope", "acme").err


def test_jobs_under_ids_of_the_callers_own_stand_where_they_were_sent(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Pack

    own = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"order {number}")) for number in range(6)]
    sent: list[str] = []
    for id in own:
        sent.append(each_depot.send(Pack(), id))
        sent += each_depot.enqueue(Pack())
    for limit in ("1", "3", "5", "50"):
        found: list[str] = []
        after: tuple[str, ...] = ()
        while True:
            page = remit("jobs", "list", "--json", "--limit", limit, *after).json
            found += [job["id"] for job in page["jobs"]]
            if page["after"] is None:
                break
            after = ("--after", page["after"])
        assert found == sent[::-1]
    assert remit("jobs", "list", "--after", own[0]).status == 2


def test_a_verb_by_filter_is_counted_asked_for_and_done(each_fates: dict[str, str], remit: Command) -> None:
    dry = remit("jobs", "cancel", "--queue", "depot.reports", "--dry-run")
    assert dry.out == "1 job would be cancelled, or asked to stop\n"
    refused = remit("jobs", "cancel", "--queue", "depot.reports")
    assert "Cancel 1 job? There is no terminal to ask on: pass --yes, or look first with --dry-run" in refused.err
    done = remit("jobs", "cancel", "--queue", "depot.reports", "--reason", "stocktaking", "--by", "ops", "--yes")
    assert done.out == "1 job cancelled, or asked to stop\n"
    [job] = remit("jobs", "show", each_fates["scheduled"], "--json").json["jobs"]
    assert (job["state"], job["reason"], job["cancelled_by"]) == ("cancelled", "stocktaking", "ops")
    assert remit("jobs", "retry", "--state", "cancelled", "--yes", "--json").json == {"done": 1}
    assert remit("jobs", "delete", "--job", "depot.pack", "--dry-run", "--json").json == {"matching": 2}
    assert remit("jobs", "delete", "--job", "depot.pack", "--purge", "--yes").out == "2 jobs removed\n"
    assert remit("jobs", "list", "--job", "depot.pack", "--limit", "1").out == "no jobs with --job depot.pack\n"


def test_ids_and_filters_are_not_mixed(fates: dict[str, str], remit: Command) -> None:
    result = remit("jobs", "cancel", fates["ready"], "--state", "ready")
    assert (result.status, "give either the ids of the jobs, or filters" in result.err) == (2, True)


def test_the_log_of_a_job_keeps_the_person_who_retried_it_and_why_it_was_dead(
    each_fates: dict[str, str], remit: Command
) -> None:
    assert remit("dead", "replay", each_fates["dead"], "--by", "ops").status == 0
    [job] = remit("jobs", "show", each_fates["dead"], "--json").json["jobs"]
    assert [line["message"] for line in job["logs"]] == [
        "retried by ops, was dead: failed 1 of 1 attempts; last: LookupError: parcel 2 is not on its shelf"
    ]
    remit("jobs", "retry", each_fates["skipped"], "--by", "anna")
    [job] = remit("jobs", "show", each_fates["skipped"], "--json").json["jobs"]
    assert job["logs"][-1]["message"].startswith("retried by anna, was skipped: shelf B7 is empty")


def test_the_beginning_of_an_id_is_enough_where_it_is_unique(each_depot: Depot, remit: Command) -> None:
    from depot.messages import Pack

    id = each_depot.send(Pack(), "0badcafe-0000-4000-8000-000000000001")
    assert remit("jobs", "show", "0badcafe").out.split()[:2] == ["id", id]
    each_depot.send(Pack(), "0badcafe-0000-4000-8000-000000000002")
    ambiguous = remit("jobs", "cancel", "0badcafe-0000")
    assert (ambiguous.status, "several jobs have ids that begin with" in ambiguous.err) == (2, True)
    assert remit("jobs", "cancel", "0badcafe-0000-4000-8000-000000000002").status == 0
    assert remit("jobs", "show", "0badcafe-1").status == 3


def test_list_shows_the_last_error_of_what_fails(each_fates: dict[str, str], remit: Command) -> None:
    [job] = remit("jobs", "list", "--failed", "--json").json["jobs"]
    assert job["last_error"] == "TimeoutError: the scales do not answer"
    assert "TimeoutError: the scales" in remit("jobs", "list", "--state", "scheduled").out


def test_list_goes_on_page_by_page(fates: dict[str, str], remit: Command) -> None:
    first = remit("jobs", "list", "--limit", "3")
    after = re.search(r"more: --after (\S+)", first.out)
    assert after is not None
    assert after[1] == fates["scheduled"]
    second = remit("jobs", "list", "--limit", "3", "--after", after[1]).out
    assert [line.split()[0] for line in second.splitlines()[1:]] == [fates["dead"], fates["completed"]]


@pytest.mark.parametrize(
    "filters, words",
    [
        ((), "no jobs"),
        (("--state", "running"), "no running jobs"),
        (("--state", "dead", "--job", "depot.pack", "--queue", "depot.parcels"),
         "no dead jobs with --job depot.pack --queue depot.parcels"),
    ],
)  # fmt: skip
def test_an_empty_list_says_so(depot: Depot, remit: Command, filters: tuple[str, ...], words: str) -> None:
    assert remit("jobs", "list", *filters).out == f"{words}\n"


def test_show_tells_all_that_is_known(fates: dict[str, str], remit: Command) -> None:
    text = remit("jobs", "show", fates["dead"]).out
    for words in (
        f"id            {fates['dead']}",
        "state         dead",
        "reason        failed 1 of 1 attempts; last: LookupError: parcel 2 is not on its shelf",
        "attempts      1 of 1 failed",
        "label         order 7",
        "requested by  anna",
        'payload\n  {\n    "number": 2\n  }\n',
        "LookupError: parcel 2 is not on its shelf",
        "Traceback (most recent call last):",
    ):
        assert words in text
    assert re.search(r"created +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ \(.*\)", text)
    text = remit("jobs", "show", fates["completed"]).out
    assert 'result\n  "parcel 1 packed"\n' in text
    assert re.search(r"log\n  \S+ \S+ \S+  INFO +packing parcel 1\n", text)


def test_show_in_json_is_whole(each_fates: dict[str, str], remit: Command) -> None:
    [dead, completed] = remit("jobs", "show", each_fates["dead"], each_fates["completed"], "--json").json["jobs"]
    assert dead["payload_text"] == '{"number":2}'
    assert [(error["attempt"], error["kind"]) for error in dead["errors"]] == [(1, "LookupError")]
    assert (completed["state"], completed["result"], completed["requested_by"]["name"]) == (
        "completed",
        "parcel 1 packed",
        "anna",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", completed["finished_at"])


def test_retry_makes_jobs_ready(each_fates: dict[str, str], remit: Command, each_depot: Depot) -> None:
    result = remit("jobs", "retry", each_fates["dead"], each_fates["scheduled"], each_fates["skipped"])
    assert result.status == 0
    assert result.out == "".join(f"{each_fates[was]} ready\n" for was in ("dead", "scheduled", "skipped"))
    assert [each_depot.states()[each_fates[was]] for was in ("dead", "scheduled", "skipped")] == ["ready"] * 3


def test_one_refusal_holds_up_no_other(each_fates: dict[str, str], remit: Command, each_depot: Depot) -> None:
    result = remit("jobs", "retry", each_fates["completed"], UNKNOWN, each_fates["dead"])
    assert result.status == 1  # of the first that failed
    assert result.out == f"{each_fates['dead']} ready\n"
    refused, missing = result.err.splitlines()
    assert refused.startswith(
        f"error: job {each_fates['completed']} is completed: retry takes jobs that are scheduled, "
    )
    assert refused.endswith("[invalid-transition]")
    assert missing.endswith("[job-not-found]")


def test_cancel_keeps_why_and_who(each_fates: dict[str, str], remit: Command) -> None:
    result = remit("jobs", "cancel", each_fates["ready"], "--reason", "duplicate order", "--by", "ops", "--json")
    [job] = result.json["jobs"]
    assert (job["state"], job["reason"], job["cancelled_by"]) == ("cancelled", "duplicate order", "ops")


def test_cancel_says_who_is_logged_in(fates: dict[str, str], remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    assert remit("jobs", "cancel", fates["ready"]).out == f"{fates['ready']} cancelled\n"
    assert remit("jobs", "show", fates["ready"], "--json").json["jobs"][0]["cancelled_by"] == "anna"


def test_delete_hides_and_purge_removes(each_fates: dict[str, str], remit: Command, each_depot: Depot) -> None:
    assert remit("jobs", "delete", each_fates["ready"]).out == f"{each_fates['ready']} cancelled and hidden\n"
    assert each_fates["ready"] not in each_depot.states()
    shown = remit("jobs", "list", "--deleted", "--json").json["jobs"]
    assert each_fates["ready"] in [job["id"] for job in shown]
    ended = remit("jobs", "delete", each_fates["completed"], "--json").json["jobs"]
    assert ended == [{"id": each_fates["completed"], "done": "hidden"}]
    waiting = remit("jobs", "delete", "--purge", each_fates["scheduled"])
    assert waiting.out == f"{each_fates['scheduled']} cancelled and removed\n"
    assert remit("jobs", "delete", "--purge", each_fates["dead"]).out == f"{each_fates['dead']} removed\n"
    assert remit("jobs", "show", each_fates["dead"]).status == 3


def test_the_application_may_come_first(fates: dict[str, str], remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMIT_APP")
    for argv in (
        ("jobs", "show", "depot.app:make_app", fates["dead"]),
        ("jobs", "show", fates["dead"], "--app", "depot.app:make_app"),
        ("jobs", "list", "depot.app:make_app"),
        ("jobs", "list", "-a", "depot.app:make_app"),
    ):
        assert fates["dead"] in remit(*argv).out


def test_foreign_texts_stay_texts(depot: Depot, remit: Command) -> None:
    from depot.messages import Pack

    [id] = depot.enqueue(Pack(), label="\x1b[2J [bold]x[/bold]")
    assert "\\x1b[2J [bold]x[/bold]" in remit("jobs", "list").out
    assert "\\x1b[2J [bold]x[/bold]" in remit("jobs", "show", id).out
