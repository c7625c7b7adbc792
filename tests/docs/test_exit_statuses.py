"""Scripts rely on exit statuses: the table of the operations page has each of them, and no other."""

import re

from remit.cli.exits import Exit
from tests.docs.pages import DOCS

PAGE = (DOCS / "operations.md").read_text()


def test_every_exit_status_is_in_the_table_and_no_other() -> None:
    [table] = re.findall(r"^### Exit status\n\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    listed = re.findall(r"^\| (\d+) \| \S", table, re.MULTILINE)
    assert [int(status) for status in listed] == sorted(Exit)
