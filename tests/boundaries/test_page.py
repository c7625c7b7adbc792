"""The page has every rule, and no other."""

import re

from remit.boundaries import RULES
from tests.docs.pages import DOCS


def test_every_rule_is_in_the_table_in_the_order_of_the_report() -> None:
    text = (DOCS / "boundaries.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == list(RULES)
