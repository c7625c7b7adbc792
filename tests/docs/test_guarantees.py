"""Every promise on the page has its test, and every test that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
TABLES = [line for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\| (?!guarantee|---)", line)]
ROWS = [line.split("|")[1:5] for line in TABLES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_a_promise_has_its_test(row: list[str]) -> None:
    _, answer, _, cell = (each.strip().strip("`") for each in row)
    assert answer in {"yes", "no", "on request"}
    if not cell:
        assert answer == "no"
        return
    path, _, name = cell.partition("::")
    text = (ROOT / path).read_text("utf-8")
    assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), cell
