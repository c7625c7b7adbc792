"""No link of the documentation leads nowhere, as far as that can be told without a network."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, name, pages

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)(?: \{#([\w-]+)\})?$", re.MULTILINE)


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as both GitHub and MkDocs make them of plain words."""
    found = set()
    for title, stated in _HEADING.findall(prose(page)):
        plain = re.sub(r"[^\w\s-]", "", title.replace("`", "").lower()).strip()
        found.add(stated or re.sub(r"\s+", "-", plain))
    return found


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in _LINK.findall(_CODE.sub("", prose(page))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            lost.append(target)
    assert not lost, f"{name(page)} links to what is not there: {lost}"


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    missing = [page for page in DOCS.rglob("*.md") if str(page.relative_to(DOCS)) not in navigation]
    assert not missing
