"""Every error has a paragraph that says what it means and what to do, under its code."""

import re

from remit import errors
from tests.docs.pages import DOCS

PAGE = (DOCS / "errors.md").read_text()
SECTIONS = dict(re.findall(r"^### `([\w-]+)` \{#[\w-]+\}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def kinds() -> dict[str, type[errors.RemitError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.RemitError)]
    return {each.code: each for each in found}


def test_every_code_has_its_section_and_no_section_is_left_over() -> None:
    assert set(SECTIONS) == set(kinds())


def test_every_section_names_its_class_its_meaning_and_its_remedy() -> None:
    for code, text in SECTIONS.items():
        assert f"`{kinds()[code].__name__}`" in text, f"{code} does not name its class"
        assert "**Meaning.**" in text, f"{code} has no meaning"
        assert "**Remedy.**" in text, f"{code} has no remedy"


def test_every_section_can_be_linked_to_by_its_code() -> None:
    assert re.findall(r"^### `([\w-]+)` \{#([\w-]+)\}$", PAGE, re.MULTILINE) == [(code, code) for code in SECTIONS]
