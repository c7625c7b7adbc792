"""`remit events`: list, show, retry, replay."""

import re
import signal
import uuid

import pytest

from tests.cli.harness import Command, Harbour, Start, eventually

UNKNOWN = str(uuid.UUID(int=7))
GIVE_UP = (
    "UPDATE remit.event SET state = 'dead', attempts = 20, error = 'no room in the hold' WHERE name = 'port.log-kept'"
)


def _ships(harbour: Harbour) -> dict[str, str]:
    from harbour.messages import CargoLanded, FogRolledIn, LogKept, ShipDocked

    ids = harbour.publish(
        CargoLanded(kind="tea"), CargoLanded(kind="rum"), ShipDocked(ship="Kraken"), ShipDocked(ship="Kraken"),
        FogRolledIn(visibility=3),
    )  # fmt: skip
    harbour.deliver()
    ids += harbour.publish(LogKept(page=1), CargoLanded(kind="silk"))
    harbour.execute(GIVE_UP)
    return dict(zip(("tea", "rum", "first", "second", "fog", "dead", "pending"), ids, strict=True))


@pytest.fixture
def ships(harbour: Harbour) -> dict[str, str]:
    """Events of every fate, by what they are about."""
    return _ships(harbour)


@pytest.fixture
def each_ships(each_harbour: Harbour) -> dict[str, str]:
    """The same, on each engine in turn."""
    return _ships(each_harbour)


def test_list_shows_one_event_a_line_newest_first(each_ships: dict[str, str], remit: Command) -> None:
    head, *lines = remit("events", "list", "--domain", "port").out.splitlines()
    assert head.split() == ["ID", "STATE", "EVENT", "PUBLISHED", "DELIVERIES", "NOTE"]
    assert [line.split()[:3] for line in lines] == [
        [each_ships["pending"], "pending", "port.cargo-landed"],
        [each_ships["dead"], "dead", "port.log-kept"],
        [each_ships["fog"], "dispatched", "port.fog-rolled-in"],
        [each_ships["second"], "dispatched", "port.ship-docked"],
        [each_ships["first"], "dispatched", "port.ship-docked"],
        [each_ships["rum"], "dispatched", "port.cargo-landed"],
        [each_ships["tea"], "dispatched", "port.cargo-landed"],
    ]
    assert lines[1].endswith("failed 20 times: no room in the hold")
    assert (lines[2].split()[-1], lines[6].split()[-1]) == ("0", "2")


def test_list_filters_and_goes_on_page_by_page(each_ships: dict[str, str], remit: Command) -> None:
    def ids(*argv: str) -> list[str]:
        return [event["id"] for event in remit("events", "list", "--json", *argv).json["events"]]

    assert ids("--state", "dead") == [each_ships["dead"]]
    assert ids("--event", "port.ship-docked") == [each_ships["second"], each_ships["first"]]
    assert ids("--domain", "nobody") == []
    page = remit("events", "list", "--event", "port.ship-docked", "--limit", "1")
    after = re.search(r"more: --after (\S+)", page.out)
    assert after is not None
    assert ids("--event", "port.ship-docked", "--limit", "1", "--after", after[1]) == [each_ships["first"]]


def test_an_empty_list_says_so(harbour: Harbour, remit: Command) -> None:
    assert remit("events", "list").out == "no events\n"
    assert (
        remit("events", "list", "--state", "dead", "--event", "port.fog").out
        == "no dead events with --event port.fog\n"
    )


def test_show_tells_what_came_of_each_delivery(each_ships: dict[str, str], remit: Command) -> None:
    text = remit("events", "show", each_ships["rum"]).out
    for words in (
        f"id          {each_ships['rum']}\n",
        "event       port.cargo-landed\n",
        "state       dispatched\n",
        'payload\n  {\n    "kind": "rum"\n  }\n',
        "1 failure: failed 1 of 1 attempts; last: LookupError: a barrel of rum is missing\n",
    ):
        assert words in text
    assert re.search(r"\n  customs.inspect  dead       \S{36}\n", text)
    assert re.search(r"\n  port.count       completed  \S{36}\n", text)
    text = remit("events", "show", each_ships["second"]).out
    assert "\n  customs.clear  waiting\n    waits for its turn, or for a dead delivery of its key\n" in text


@pytest.mark.parametrize(
    "which, words",
    [
        ("pending", "none yet: it waits for the relay, which is part of every worker"),
        ("dead", "none: the relay gave it up; `remit events retry` returns it to the relay"),
        ("fog", "none: no subscription wanted it"),
    ],
)
def test_show_says_why_there_is_no_delivery(ships: dict[str, str], remit: Command, which: str, words: str) -> None:
    assert remit("events", "show", ships[which]).out.endswith(f"deliveries\n  {words}\n")


def test_show_in_json_is_whole(each_ships: dict[str, str], remit: Command) -> None:
    [rum, dead] = remit("events", "show", each_ships["rum"], each_ships["dead"], "--json").json["events"]
    assert (rum["payload"], rum["payload_text"], rum["deliveries"]) == ({"kind": "rum"}, '{"kind":"rum"}', 2)
    [inspected, counted] = rum["records"]
    assert (inspected["subscription"], inspected["state"], inspected["failures"]) == ("customs.inspect", "dead", 1)
    assert (counted["state"], counted["reason"]) == ("completed", None)
    assert (dead["state"], dead["failures"], dead["error"]) == ("dead", 20, "no room in the hold")


def test_the_job_of_a_delivery_names_its_event_and_its_subscription(each_ships: dict[str, str], remit: Command) -> None:
    [event] = remit("events", "show", each_ships["rum"], "--json").json["events"]
    id = event["records"][0]["job"]
    text = remit("jobs", "show", id).out
    assert f"delivery of   port.cargo-landed {each_ships['rum']}\n" in text
    assert "subscription  customs.inspect\n" in text
    [job] = remit("jobs", "show", id, "--json").json["jobs"]
    assert (job["event"], job["event_name"], job["subscription"]) == (
        each_ships["rum"], "port.cargo-landed", "customs.inspect",
    )  # fmt: skip


def test_the_job_of_a_delivery_outlives_its_event(harbour: Harbour, ships: dict[str, str], remit: Command) -> None:
    [event] = remit("events", "show", ships["rum"], "--json").json["events"]
    harbour.execute("DELETE FROM remit.event")
    text = remit("jobs", "show", event["records"][0]["job"]).out
    assert f"delivery of   an event that was purged, {ships['rum']}\n" in text


def test_retry_gives_a_dead_event_to_the_relay_again(
    each_harbour: Harbour, each_ships: dict[str, str], remit: Command
) -> None:
    result = remit("events", "retry", each_ships["dead"], each_ships["rum"], UNKNOWN)
    assert result.status == 1  # of the first that failed
    assert result.out == f"{each_ships['dead']} pending\n"
    refused, missing = result.err.splitlines()
    assert refused.endswith(
        "was dispatched: retry its deliveries, which are jobs, or replay it to a subscription [invalid-transition]"
    )
    assert missing.endswith("[event-not-found]")
    each_harbour.deliver()
    [event] = remit("events", "show", each_ships["dead"], "--json").json["events"]
    assert (event["state"], event["error"]) == ("dispatched", None)


def test_an_unknown_event_is_not_found(harbour: Harbour, remit: Command) -> None:
    assert remit("events", "show", UNKNOWN).status == 3
    assert remit("events", "show").err == "error: the id of an event is missing [usage]\n"


def test_replay_delivers_what_a_subscription_has_not_had(
    each_harbour: Harbour, each_ships: dict[str, str], remit: Command
) -> None:
    each_harbour.vanish("customs.weigh")
    assert remit("events", "replay", "--to", "customs.weigh", "--until", "1h").out == (
        "nothing to deliver: customs.weigh has had, or is getting, all that is kept of its events\n"
    )
    result = remit("events", "replay", "--to", "customs.weigh", "--since", "1h")
    assert result.out == "3 deliveries made for customs.weigh\n"
    assert result.err == (
        "warning: customs.weigh is no longer declared: its deliveries wait until its handler is restored\n"
    )
    again = remit("events", "replay", "--to", "customs.weigh", "--rate", "1000", "--json").json
    assert again == {"subscription": "customs.weigh", "deliveries": 0}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_replay_that_is_ended_by_a_signal_holds_nothing(
    harbour: Harbour, ships: dict[str, str], remit: Command, start: Start, number: signal.Signals
) -> None:
    replay = start("events", "replay", "--to", "customs.clear", "--rate", "0.01")

    def filling() -> bool:
        return remit("subscriptions", "show", "customs.clear", "--json").json["filling_since"] is not None

    eventually(filling, "it has begun")
    replay.signal(number)
    assert replay.end() == 130
    assert "Traceback" not in replay.output
    assert not filling()


def test_replay_to_one_that_was_retired_is_refused(harbour: Harbour, remit: Command) -> None:
    remit("subscriptions", "retire", "customs.inspect", "--yes")
    result = remit("events", "replay", "--to", "customs.inspect")
    assert result.status == 3
    assert result.err == (
        "error: customs.inspect was retired, and gets no events: `remit migrate` restores it [unknown-subscription]\n"
    )


def test_replay_to_nobody_names_the_nearest(harbour: Harbour, remit: Command) -> None:
    result = remit("events", "replay", "--to", "customs.inspct")
    assert (result.status, result.out) == (3, "")
    assert "Did you mean 'customs.inspect'? [unknown-subscription]" in result.err
    assert remit("events", "replay").status == 2
    result = remit("events", "replay", "--to", "customs.inspect", "--since", "yesterday")
    assert (result.status, "--since 'yesterday' is not a time: write an age" in result.err) == (2, True)
