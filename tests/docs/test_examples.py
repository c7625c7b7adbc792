"""Whatever a page says can be run, runs; whatever it says is printed, is printed."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from remit import Remit
from tests.docs.pages import Block, blocks, name, pages

ALL = [block for page in pages() for block in blocks(page)]
RUNNABLE = sorted({block.page for block in ALL if block.word == "run"})
LONGEST = 60
"""Seconds that one example may take."""


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_every_example_of_a_page_runs_as_the_page_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, home = tmp_path / "page", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    printed = ""
    for block in blocks(page):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
        match block.word:
            case "run" if block.language == "console":
                run_console(block, folder, surroundings(home, folder))
            case "run":
                printed = run_python(block, folder, surroundings(home, folder, database(block, request)))
            case "output":
                agree(block, block.text, printed)
            case _:
                pass


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda block: block.place)
def test_every_piece_of_python_is_python(block: Block) -> None:
    ast.parse(block.text)


def database(block: Block, request: pytest.FixtureRequest) -> str | None:
    if block.argument != "postgres":
        assert not block.argument, f"{block.place}: what is {block.argument!r}?"
        return None
    url: str = request.getfixturevalue("postgres_url")
    Remit(url, domains=[]).sync.migrate()
    return url


def surroundings(home: Path, folder: Path, url: str | None = None) -> dict[str, str]:
    """An environment in which nothing of the machine's owner is left."""
    here = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "PYTHONWARNINGS": "error::DeprecationWarning:__main__",
        "COLUMNS": "120",
        "LANG": "C.UTF-8",
    }
    return here if url is None else {**here, "REMIT_DATABASE_URL": url}


def run_python(block: Block, folder: Path, environment: dict[str, str]) -> str:
    script = folder / f"example_{block.line}.py"
    script.write_text(block.text)
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, f"{block.place} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_console(block: Block, folder: Path, environment: dict[str, str]) -> None:
    for command, expected in commands(block.text):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 0, f"{block.place}: {command} failed:\n{done.stdout}{done.stderr}"
        if expected:
            agree(block, expected, done.stdout)


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    pieces = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert not pieces[0].strip(), "a console block begins with a `$ `"
    return list(zip(pieces[1::2], pieces[2::2], strict=True))


def agree(block: Block, expected: str, printed: str) -> None:
    pattern = "\n".join(_line(line) for line in expected.rstrip().split("\n"))
    told = "\n".join(line.rstrip() for line in printed.rstrip().split("\n"))
    if not re.fullmatch(pattern, told):
        pytest.fail(f"{block.place} says:\n{expected}\nbut this was printed:\n{printed}")


def _line(line: str) -> str:
    """A line as a pattern: `…` is any text within it; alone, it is any number of lines.

    An id stands for any id, an age for any age, and a gap for any gap, so that a page can show what one sees.
    """
    if line.strip() == "…":
        return r"(?:.*\n)*?.*"
    return "".join(_piece(piece) for piece in _VARIABLE.split(line.rstrip()))


_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_AGE = r"(?:now|[\d.]+ \w+(?: [\d.]+ \w+)? ago)"
_VARIABLE = re.compile(rf"(…|{_ID}|\b{_AGE}| {{2,}})")


def _piece(piece: str) -> str:
    if piece == "…":
        return ".*?"
    if re.fullmatch(_ID, piece):
        return _ID
    if re.fullmatch(_AGE, piece):
        return _AGE
    return r"\s+" if piece.startswith("  ") and not piece.strip() else re.escape(piece)
