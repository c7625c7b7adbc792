"""What `remit check` learns from the database, and that it never needs it."""

from pathlib import Path

import pytest

from tests.cli.harness import Command, Harbour

RULE = ("--rule", "vanished-subscription")


def test_deliveries_to_a_subscription_that_is_gone_are_a_violation(each_harbour: Harbour, remit: Command) -> None:
    from harbour.messages import CargoLanded

    assert remit("check", *RULE).status == 0
    each_harbour.vanish("customs.weigh")
    each_harbour.publish(CargoLanded(kind="silk"))
    each_harbour.deliver()
    result = remit("check", *RULE)
    assert result.status == 5
    assert "1 delivery waits for customs.weigh, which is not declared" in result.out
    [violation] = remit("check", *RULE, "--json").json["violations"]
    assert (violation["rule"], violation["subject"]) == ("vanished-subscription", "customs.weigh")


def test_one_that_is_gone_and_has_nothing_waiting_is_none(harbour: Harbour, remit: Command) -> None:
    harbour.vanish("customs.weigh")
    assert remit("check", *RULE).status == 0


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/nowhere", "sqlite:///not-there.db"])
def test_a_database_that_is_not_there_is_neither_missed_nor_made(
    remit: Command, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REMIT_APP", "harbour.app:make_app")
    monkeypatch.setenv("REMIT_DATABASE_URL", url)
    assert remit("check", *RULE).status == 0
    assert not Path("not-there.db").exists()


def test_a_database_without_a_schema_is_left_alone(
    postgres_url: str, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_APP", "harbour.app:make_app")
    monkeypatch.setenv("REMIT_DATABASE_URL", postgres_url)
    assert remit("check", *RULE).status == 0
    assert remit("events", "list").status == 4
