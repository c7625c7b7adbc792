"""Scripts rely on exit statuses: the operations page and `remit --help` have each of them, and no other."""

import re

from remit.cli.exits import Exit
from remit.cli.program import build
from remit.cli.stopping import StopSwitch
from tests.docs.pages import DOCS

PAGE = (DOCS / "operations.md").read_text()


def test_every_exit_status_is_in_the_table_and_no_other() -> None:
    [table] = re.findall(r"^### Exit status\n\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    listed = re.findall(r"^\| (\d+) \| \S", table, re.MULTILINE)
    assert [int(status) for status in listed] == sorted(Exit)


def test_the_help_names_every_exit_status_and_no_other() -> None:
    _, _, told = str(build(StopSwitch()).help_epilogue).partition("Exit status: ")
    assert [int(status) for status in re.findall(r"(?:^|, )(\d+) ", told)] == sorted(Exit)
