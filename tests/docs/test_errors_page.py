"""Every error has a section that says what it means and what to do, under its code."""

import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import remit
from remit.errors import RemitError
from tests.docs.pages import DOCS

PAGE = (DOCS / "errors.md").read_text()
SECTIONS = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def kinds() -> dict[str, type[RemitError]]:
    """Every error with a code of its own, wherever in remit it stands."""
    for module in walk_packages(remit.__path__, "remit."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return {each.code: each for each in (RemitError, *below(RemitError)) if "code" in vars(each)}


def below(kind: type[RemitError]) -> Iterator[type[RemitError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("remit."):
            yield each
            yield from below(each)


def test_every_code_has_its_section_and_no_section_is_left_over() -> None:
    assert set(SECTIONS) == set(kinds())


def test_every_section_names_its_class_its_meaning_and_its_remedy() -> None:
    for code, text in SECTIONS.items():
        assert f"`{kinds()[code].__name__}`" in text, f"{code} does not name its class"
        assert "**Meaning.**" in text, f"{code} has no meaning"
        assert "**Remedy.**" in text, f"{code} has no remedy"


def test_what_an_error_is_besides_is_told() -> None:
    """People catch `LookupError` and `TypeError`: a page that says so is believed."""
    for code, text in SECTIONS.items():
        for kind in (TypeError, ValueError, LookupError, ImportError):
            also = issubclass(kinds()[code], kind) and not issubclass(kinds()[code].__bases__[0], kind)
            assert (f"also a `{kind.__name__}`" in text or f"also an `{kind.__name__}`" in text) == also, code
