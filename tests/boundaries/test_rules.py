"""`remit check` finds what is planted, on its line, and nothing else."""

from __future__ import annotations

from collections import Counter
from functools import partial

from remit.boundaries import RULES, Report, check
from remit.boundaries.rules.vanished import vanished_subscription
from tests.boundaries.conftest import planted

PENDING = {"billing.price-it": 3, "billing.gone": 2, "catalog.gone-too": 0}


def bazaar() -> Report:
    from bazaar.app import app

    return check(app, finders=[partial(vanished_subscription, pending=PENDING)])


def found(report: Report) -> Counter[tuple[str, int, str]]:
    return Counter((each.file, each.line, each.rule) for each in report.violations)


def test_every_planted_violation_is_found_and_nothing_else() -> None:
    report = bazaar()
    expected = planted("bazaar")
    assert found(report) - expected == Counter(), "\n".join(each.text() for each in report.violations)
    assert expected - found(report) == Counter()


def test_every_rule_is_planted() -> None:
    assert {rule for _, _, rule in planted("bazaar")} == set(RULES)


def test_the_clean_twin_has_no_violations() -> None:
    from market.app import app

    report = check(app)
    assert not report.violations, "\n".join(each.text() for each in report.violations)
    assert (report.domains, report.modules) == (2, 19)
