"""The baseline is a ratchet: what is known passes, and it only shrinks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from remit.boundaries import Baseline, Violation, assert_boundaries
from remit.errors import ConfigurationError
from tests.boundaries.test_rules import bazaar

ONE = Violation("foreign-enqueue", "a.py", 3, "a", "a.x enqueues b.job", "message", "remedy")
SAME = replace(ONE, line=9)
OTHER = replace(ONE, subject="a.y enqueues b.job")


def test_moved_lines_stay_known(tmp_path: Path) -> None:
    Baseline.of([ONE]).write(tmp_path / "known.json")
    moved = replace(ONE, line=300, message="in other words", remedy="")
    compared = Baseline.read(tmp_path / "known.json").compare([moved])
    assert compared.clean
    assert compared.known == (moved,)
    assert moved.fingerprint == ONE.fingerprint != OTHER.fingerprint


def test_one_more_of_the_same_kind_is_new() -> None:
    compared = Baseline.of([ONE]).compare([ONE, SAME])
    assert compared.new == (SAME,)
    assert not compared.clean


def test_what_was_fixed_has_to_go() -> None:
    compared = Baseline.of([ONE, SAME, OTHER]).compare([ONE])
    assert [(each.rule, each.subject) for each in compared.fixed] == [
        ("foreign-enqueue", ONE.subject),
        ("foreign-enqueue", OTHER.subject),
    ]
    assert not compared.clean


def test_a_narrowed_check_leaves_the_rest_of_the_baseline_alone() -> None:
    known = Baseline.of([ONE, replace(OTHER, rule="unheard-event", domain="b")])
    assert known.narrowed(["foreign-enqueue"], []).compare([ONE]).clean
    assert known.narrowed([], ["a"]).compare([ONE]).clean
    assert not known.narrowed([], []).compare([ONE]).clean


def test_the_file_compares_well(tmp_path: Path) -> None:
    file, again = tmp_path / "known.json", tmp_path / "again.json"
    Baseline.of([OTHER, ONE, SAME]).write(file)
    Baseline.of([SAME, OTHER, ONE]).write(again)
    assert file.read_text() == again.read_text()
    assert json.loads(file.read_text())["violations"] == [
        {"rule": "foreign-enqueue", "subject": ONE.subject, "domain": "a", "count": 2},
        {"rule": "foreign-enqueue", "subject": OTHER.subject, "domain": "a", "count": 1},
    ]
    assert sum("subject" in line for line in file.read_text().splitlines()) == 2
    Baseline.of([]).write(file)
    assert len(Baseline.read(file)) == 0


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "violations": []}', '{"version": 1, "violations": [1]}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(ConfigurationError, match="write it again"):
        Baseline.read(tmp_path / "known.json")


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--baseline write"):
        Baseline.read(tmp_path / "known.json")


def test_the_assertion_lists_everything() -> None:
    from bazaar.app import app

    with pytest.raises(AssertionError) as raised:
        assert_boundaries(app)
    text = str(raised.value)
    count = len(bazaar().violations) - 1  # without that of the store
    assert text.startswith(f"{count} violations of boundaries\n")
    assert re.search(r"bazaar/catalog/search.py:\d+: foreign-internals: catalog imports bazaar.billing.ledger", text)
    assert 'Allow("catalog", "bazaar.billing.ledger", reason=…)' in text


def test_the_assertion_can_be_narrowed_and_takes_a_baseline(tmp_path: Path) -> None:
    from bazaar.app import app
    from market.app import app as clean

    assert_boundaries(clean)
    assert_boundaries(app, rules=["layer-order"], domains=["billing"])
    Baseline.of(bazaar().violations[:-5]).write(tmp_path / "known.json")
    with pytest.raises(AssertionError, match="fixed, so remove it: vanished-subscription"):
        assert_boundaries(app, baseline=tmp_path / "known.json")
