"""The first thing that a newcomer copies works, as it stands, on a machine without a home."""

import subprocess
import sys
import time
from pathlib import Path

from tests.docs.pages import ROOT, Block, blocks

README = ROOT / "README.md"


def quick_start() -> Block:
    return next(block for block in blocks(README) if block.word == "run" and block.language == "python")


def test_the_quick_start_of_the_readme_does_its_first_job_in_two_seconds(tmp_path: Path) -> None:
    block = quick_start()
    (tmp_path / "hello.py").write_text(block.text)
    home = tmp_path / "home"
    home.mkdir()
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "hello.py"],
        cwd=tmp_path,
        env={"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    took = time.monotonic() - begun
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, world!\n", "")
    assert not list(home.iterdir())
    assert took < 10, "it takes half a second on an idle machine; tests have to leave room for busy ones"


def test_the_quick_start_has_twelve_lines_of_code() -> None:
    assert len([line for line in quick_start().text.splitlines() if line.strip()]) == 12


def test_the_quick_start_satisfies_a_type_checker(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(quick_start().text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "hello.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
