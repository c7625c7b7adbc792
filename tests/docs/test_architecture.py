"""The map that new contributors read shows what is there, and fits into one sitting."""

import re

from tests.docs.pages import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PATHS = [
    str(path.relative_to(ROOT))
    for top in ("src", "tests", "docs")
    for path in (ROOT / top).rglob("*")
    if path.is_file()
]


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sql|md))`", TEXT))
    missing = [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in [*PATHS, *top_level()])]
    assert len(named) > 30
    assert not missing


def test_every_folder_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:[\w-]+/)+)`", TEXT)) | {f"{name}/" for name in re.findall(r"`(tests/\w+)`", TEXT)}
    missing = [name for name in named if not any(f"/{name}" in f"/{path}" for path in PATHS)]
    assert named
    assert not missing


def test_every_layer_that_it_names_is_one_and_none_is_left_out() -> None:
    named = set(re.findall(r"^remit\.(\w+) ", TEXT, re.MULTILINE))
    present = {
        path.name.removesuffix(".py")
        for path in (ROOT / "src/remit").iterdir()
        if not path.name.startswith(("_", "py"))
    }
    assert named == present


def test_it_can_be_read_in_one_sitting() -> None:
    assert len(TEXT.splitlines()) <= 250


def top_level() -> list[str]:
    return [path.name for path in ROOT.iterdir() if path.is_file()]
