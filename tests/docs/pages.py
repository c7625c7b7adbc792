"""The pages of the documentation, as tests read them.

A block with a title is a file of the page: `title="shop.py"` behind the language. A comment before a block, which a
reader does not see, says what else a test does with it:

    <!-- run -->               Python is run there, as a script; a console block by the shell, `$ ` being the prompt
    <!-- run: postgres -->     the same, on a fresh PostgreSQL, migrated, in `REMIT_DATABASE_URL`
    <!-- output -->            what the run before it printed: `…` is any text, alone on a line any number of lines;
                               an id is any id, an age any age

A page is one sitting: one directory, its blocks in the order in which they stand. The output of a console block stands
in the block itself, below each command; a command without any is only asked to succeed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<word>run|output)(?:: (?P<argument>[^\n]+?))? -->\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"\n]+)\")?[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block. `word` is run, output, or nothing; `title` the file that it is."""

    page: Path
    line: int
    word: str
    argument: str
    title: str
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page: those for the site, and those that stand at the root."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page that begins at the margin."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(
            page,
            line,
            found["word"] or "",
            found["argument"] or "",
            found["title"] or "",
            found["language"],
            found["text"],
        )


def name(page: Path) -> str:
    """A page as tests are named after it."""
    return str(page.relative_to(ROOT))
