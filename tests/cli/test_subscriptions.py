"""`remit subscriptions`: list, show, retire; and what status, banner and dead letters say about them."""

import io
import sys

import pytest

from remit.cli.views.subscriptions import differing
from remit.outbox.model import Differences
from tests.cli.harness import Command, Harbour, Start, Terminal


def _bustle(harbour: Harbour) -> Harbour:
    from harbour.messages import CargoLanded, ShipDocked

    harbour.vanish("customs.weigh")
    harbour.publish(
        CargoLanded(kind="tea"), CargoLanded(kind="rum"), ShipDocked(ship="Kraken"), ShipDocked(ship="Kraken")
    )
    harbour.deliver()
    return harbour


@pytest.fixture
def bustle(harbour: Harbour) -> Harbour:
    """One subscription that failed, one that is held by a dead delivery, one whose code is gone, one that is well."""
    return _bustle(harbour)


@pytest.fixture
def each_bustle(each_harbour: Harbour) -> Harbour:
    """The same, on each engine in turn."""
    return _bustle(each_harbour)


def _lines(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(("customs.", "port."))}


def test_list_shows_how_each_is_declared_and_how_it_keeps_up(each_bustle: Harbour, remit: Command) -> None:
    text = remit("subscriptions", "list").out
    assert text.splitlines()[0].split() == [
        "SUBSCRIPTION", "EVENT", "QUEUE", "WHERE", "ORDER", "TURNS", "READY", "RUNNING", "OLDEST", "STALE", "DEAD",
        "NOTE",
    ]  # fmt: skip
    lines = _lines(text)
    assert list(lines) == ["customs.clear", "customs.inspect", "customs.weigh", "port.count"]
    assert lines["customs.clear"][1:6] == ["port.ship-docked", "customs.default", "by", "ship", "1"]
    assert lines["customs.clear"][-2:] == ["0", "1"], "none stale, one dead"
    assert lines["customs.inspect"][1:8] == ["port.cargo-landed", "customs.goods", "kind", "=", "rum", "or", "tea"]
    assert lines["customs.weigh"][3] == "2"
    assert lines["customs.weigh"][-1] == "VANISHED"
    assert lines["port.count"][3:] == ["0", "0", "-", "0", "0"]


def test_list_in_json_counts_by_state(each_bustle: Harbour, remit: Command) -> None:
    found = {each["subscription"]: each for each in remit("subscriptions", "list", "--json").json["subscriptions"]}
    clear, weigh = found["customs.clear"], found["customs.weigh"]
    assert {state: each["count"] for state, each in clear["under_way"].items()} == {"dead": 1, "waiting": 1}
    assert (clear["ordered_by"], clear["on_dead"], clear["stale_after_seconds"]) == ("ship", "block", 300)
    assert (weigh["vanished"], weigh["declared"], clear["declared"]) == (True, False, True)
    assert found["customs.inspect"]["where"] == {"1": {"kind": ["rum", "tea"]}}


def test_what_waits_for_too_long_is_stale_and_what_is_dead_is_not(each_bustle: Harbour, remit: Command) -> None:
    each_bustle.execute("UPDATE remit.subscription SET stale_after = 0.001")
    lines = _lines(remit("subscriptions", "list").out)
    assert lines["customs.weigh"][-3:] == ["2", "0", "VANISHED"]
    assert lines["customs.inspect"][-2:] == ["0", "1"]


def test_show_tells_how_it_stands(each_bustle: Harbour, remit: Command) -> None:
    text = remit("subscriptions", "show", "customs.clear").out
    for words in (
        "state         in use\n",
        "order         one after the other by ship; a dead delivery blocks those behind it\n",
        "stale after   5 min\n",
    ):
        assert words in text
    assert [line.split()[:2] for line in text.splitlines()[-3:]] == [
        ["STATE", "COUNT"], ["waiting", "1"], ["dead", "1"],
    ]  # fmt: skip
    text = remit("subscriptions", "show", "customs.weigh").out
    assert "VANISHED: this application no longer declares it; restore its handler, or run `remit subscr" in text
    assert remit("subscriptions", "show", "port.count").out.endswith("none under way, none dead\n")
    assert remit("subscriptions", "show", "customs.weigh", "--json").json["vanished"] is True


def test_an_unknown_subscription_is_not_found(harbour: Harbour, remit: Command) -> None:
    for verb in (("show",), ("retire", "--yes")):
        result = remit("subscriptions", *verb, "customs.cleer")
        assert result.status == 3
        assert "there is no subscription 'customs.cleer' in the store. Did you mean 'customs.clear'?" in result.err
    assert remit("subscriptions", "show", "a", "b").status == 2
    assert remit("subscriptions", "show").err == "error: the name of a subscription is missing [usage]\n"


def test_retire_asks_and_says_what_is_left(
    each_bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    result = remit("subscriptions", "retire", "customs.weigh")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "Deliver nothing more to customs.weigh? [y/N] error: customs.weigh was not retired [refused]\n"
    )
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert remit("subscriptions", "retire", "customs.weigh").out == (
        "customs.weigh retired\n"
        "left: 2 ready deliveries: remit jobs list --job customs.weigh --state ready\n"
        "no worker that lacks its handler runs them: `remit subscriptions retire customs.weigh --cancel` cancels them\n"
    )
    assert " retired " in remit("subscriptions", "list").out
    assert len(remit("jobs", "list", "--job", "customs.weigh", "--json").json["jobs"]) == 2


def test_retire_says_what_is_at_stake(bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    result = remit("subscriptions", "retire", "customs.clear")
    assert result.err == (
        "Deliver nothing more to customs.clear, and drop 1 delivery that waits for its turn? This application still "
        "declares it, and `remit migrate` restores it. [y/N] "
    )
    assert result.out == (
        "customs.clear retired; 1 turn that had not begun is gone\n"
        "left: 1 dead delivery: remit jobs list --job customs.clear --state dead\n"
    )
    assert remit("migrate").out.splitlines()[0] == "subscription customs.clear changed"


def test_retire_without_anybody_to_ask_is_refused(
    bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    result = remit("subscriptions", "retire", "customs.weigh")
    assert (result.status, "There is no terminal to ask on: pass --yes [usage]" in result.err) == (2, True)
    assert remit("subscriptions", "retire", "customs.weigh", "--yes", "--json").json == {
        "retired": "customs.weigh", "turns_dropped": 0, "cancelled": 0, "asked_to_stop": 0, "under_way": 2, "dead": 0,
    }  # fmt: skip


def test_retire_cancels_what_is_under_way(
    each_bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harbour.messages import CargoLanded

    each_bustle.publish(CargoLanded(kind="oil"), CargoLanded(kind="tar"))
    each_bustle.deliver()
    each_bustle.execute(
        "UPDATE remit.job SET state = 'running', worker = id "
        "WHERE id = (SELECT id FROM remit.job WHERE name = 'customs.weigh' ORDER BY id LIMIT 1)"
    )
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    result = remit("subscriptions", "retire", "customs.weigh", "--cancel", "--by", "ann")
    assert result.err == "Deliver nothing more to customs.weigh, and cancel 4 deliveries under way? [y/N] "
    assert result.out == (
        "customs.weigh retired; 3 deliveries cancelled; 1 running delivery asked to stop\n"
        "left: 1 running delivery: remit jobs list --job customs.weigh --state running\n"
    )
    found = remit("jobs", "list", "--job", "customs.weigh", "--state", "cancelled", "--json").json["jobs"]
    [record] = remit("jobs", "show", found[0]["id"], "--json").json["jobs"]
    assert (record["reason"], record["cancelled_by"]) == ("its subscription was retired", "ann")


def test_what_was_retired_can_be_cancelled_later(each_bustle: Harbour, remit: Command) -> None:
    assert remit("subscriptions", "retire", "customs.weigh", "--yes").out.startswith("customs.weigh retired\nleft: 2 ")
    assert remit("subscriptions", "retire", "customs.weigh", "--cancel", "--yes", "--json").json == {
        "retired": "customs.weigh", "turns_dropped": 0, "cancelled": 2, "asked_to_stop": 0, "under_way": 0, "dead": 0,
    }  # fmt: skip
    assert remit("subscriptions", "retire", "customs.weigh", "--cancel", "--yes").out == "customs.weigh retired\n"
    assert remit("subscriptions", "show", "customs.weigh").out.endswith("none under way, none dead\n")


def test_retire_asks_once_about_turns_and_what_is_under_way(
    bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bustle.execute("UPDATE remit.job SET state = 'ready', finished_at = NULL WHERE name = 'customs.clear'")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    result = remit("subscriptions", "retire", "customs.clear", "--cancel")
    assert result.err.startswith(
        "Deliver nothing more to customs.clear, drop 1 delivery that waits for its turn, and cancel 1 delivery under "
        "way? This application still declares it"
    )
    assert remit("subscriptions", "retire", "customs.clear", "--cancel", "--yes").out == (
        "customs.clear retired; 1 turn that had not begun is gone; 1 delivery cancelled\n"
    )


def test_an_empty_list_says_what_enters_them(depot: object, remit: Command) -> None:
    assert remit("subscriptions", "list").out.startswith("no subscriptions: `remit migrate` enters those")


def test_status_tells_of_the_outbox_and_of_who_is_behind(each_bustle: Harbour, remit: Command) -> None:
    from harbour.messages import LogKept

    text = remit("status").out
    assert "\noutbox: nothing pending\n" in text
    found = text[text.index("SUBSCRIPTION") :].splitlines()[1:4]
    assert [line.split()[0] for line in found] == ["customs.clear", "customs.inspect", "customs.weigh"]
    each_bustle.publish(LogKept(page=1), LogKept(page=2))
    each_bustle.execute("UPDATE remit.event SET state = 'dead' WHERE seq = (SELECT max(seq) FROM remit.event)")
    text = remit("status").out
    assert "\noutbox: 1 event pending, the oldest for " in text
    assert "; 1 dead event\n" in text
    document = remit("status", "--json").json
    assert (document["outbox"]["pending"], document["outbox"]["dead"]) == (1, 1)
    assert document["outbox"]["lag_seconds"] > 0
    assert [each["subscription"] for each in document["subscriptions"] if each["vanished"]] == ["customs.weigh"]


def test_status_and_banner_tell_that_the_store_goes_by_another_declaration(
    each_harbour: Harbour, remit: Command, start: Start
) -> None:
    assert remit("status", "--json").json["warnings"] == []
    each_harbour.execute(
        """UPDATE remit.subscription SET past = '["' || fingerprint || '"]', fingerprint = 'newer', revision = 2 """
        "WHERE name = 'port.count'"
    )
    words = (
        "the store holds another declaration of port.count (revision 2) than this release's, which is in force: after "
        "a roll-back run `remit migrate` of this release"
    )
    assert remit("status", "--json").json["warnings"] == [words]
    assert f"warning: {words}" in " ".join(remit("status").out.split())
    worker = start("worker", "harbour.serving:app")
    worker.wait_for(" is ready")
    assert f"  warning  {words}" in worker.lines
    assert sum("than this worker's" in line for line in worker.lines) == 1, "and its log"


def test_what_is_said_of_two_names_for_one_handler_and_of_a_rename() -> None:
    found = differing(Differences(duplicates=(("a.new", "a.old"),), outdated=(("a.one", "a.two", 3),)))
    assert found[0].endswith("from both: run `remit subscriptions retire a.old`")
    assert "a.one (as a.two, revision 3)" in found[1]


def test_status_says_that_handlers_cannot_be_imported(
    bustle: Harbour, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_handlers(_: object) -> None:
        raise ModuleNotFoundError("No module named 'scales'")

    monkeypatch.setattr("remit.catalog.registry.Catalog.import_handlers", import_handlers)
    result = remit("status")
    assert result.status == 0
    assert "subscriptions: the handlers cannot be imported: ModuleNotFoundError: No module named 'scales'" in result.out
    assert remit("status", "--json").json["subscriptions"] is None


def test_status_of_an_application_without_events_says_nothing_about_them(depot: object, remit: Command) -> None:
    assert "outbox" not in remit("status").out


def test_a_replay_of_what_nobody_runs_is_said(bustle: Harbour, remit: Command) -> None:
    bustle.execute("UPDATE remit.job SET state = 'dead', finished_at = created_at WHERE name = 'customs.weigh'")
    result = remit("dead", "replay", "--queue", "customs.goods", "--dry-run")
    assert result.out == "3 dead letters would be replayed\n"
    assert result.err == (
        "warning: 2 dead deliveries to customs.weigh, which is no longer declared: replayed, they wait until its "
        "handler is restored\n"
    )
    assert remit("dead", "replay", "--job", "customs.inspect", "--dry-run").err == ""
