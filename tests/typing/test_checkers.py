"""mypy, pyright and ty report every wrong line of `shop`, and no right one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
SHOP = HERE / "shop"
LOCATED = re.compile(r"^(?P<file>[^:\n]+\.py):(?P<line>\d+):.*?\b(?:error|warning)\b", re.MULTILINE)

Lines = set[tuple[str, int]]


def test_mypy_reports_the_wrong_lines_only(tmp_path: Path) -> None:
    output = run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path), "-p", "shop"],
        MYPYPATH=f"{HERE}{os.pathsep}{SOURCE}",
    )
    assert reported_in(output) == expected(), output


def test_pyright_reports_the_wrong_lines_only() -> None:
    output = run([script("pyright"), "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"])
    reports = json.loads(output)["generalDiagnostics"]
    lines = {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in reports}
    assert lines == expected(), output


def test_ty_reports_the_wrong_lines_only() -> None:
    search = [f"--extra-search-path={path}" for path in (HERE, SOURCE)]
    python = ["--python", sys.executable, "--python-version", "3.11"]
    output = run([script("ty"), "check", "--project", str(HERE), *search, *python, "--output-format=concise", "shop"])
    assert reported_in(output) == expected(), output


def expected() -> Lines:
    return set(wrong_lines())


def wrong_lines() -> Iterator[tuple[str, int]]:
    for file in SHOP.glob("*.py"):
        for number, text in enumerate(file.read_text("utf-8").splitlines(), 1):
            if text.endswith("# E"):
                yield file.name, number


def reported_in(output: str) -> Lines:
    return {(Path(found["file"]).name, int(found["line"])) for found in LOCATED.finditer(output)}


def script(name: str) -> str:
    """Find a checker beside the interpreter, or on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return found or pytest.skip(f"{name} is not installed")


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout
