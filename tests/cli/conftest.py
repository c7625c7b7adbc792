"""The commands on two small applications, `depot` (jobs) and `harbour` (events): in this process where that will do, as
real processes for workers.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.cli import main
from tests.cli.harness import HERE, Command, Depot, Harbour, Process, Result, Start


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of this machine says anything to a command; `depot` can be imported."""
    for name in os.environ:
        if name.startswith(("REMIT_", "FORCE_COLOR", "NO_COLOR", "COLUMNS")):
            monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def remit(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command line in this process."""

    def run(*argv: str) -> Result:
        capsys.readouterr()
        status = main(argv)
        return Result(status, *capsys.readouterr())

    return run


def _depot(url: str, monkeypatch: pytest.MonkeyPatch) -> Depot:
    from depot.app import make_app

    monkeypatch.setenv("REMIT_DATABASE_URL", url)
    monkeypatch.setenv("REMIT_APP", "depot.app:make_app")
    make_app().sync.migrate()
    return Depot(url)


@pytest.fixture
def depot(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Depot:
    """The application on SQLite, named by the environment."""
    return _depot(sqlite_url, monkeypatch)


@pytest.fixture
def each_depot(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Depot:
    """The application on each engine in turn."""
    return _depot(store_url, monkeypatch)


def _harbour(url: str, monkeypatch: pytest.MonkeyPatch) -> Harbour:
    from harbour.app import make_app

    monkeypatch.setenv("REMIT_DATABASE_URL", url)
    monkeypatch.setenv("REMIT_APP", "harbour.app:make_app")
    make_app().sync.migrate()
    return Harbour(url)


@pytest.fixture
def harbour(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Harbour:
    """The application with events on SQLite, named by the environment."""
    return _harbour(sqlite_url, monkeypatch)


@pytest.fixture
def each_harbour(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Harbour:
    """The application with events on each engine in turn."""
    return _harbour(store_url, monkeypatch)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command as a process of its own, with both of its outputs in one stream."""
    started: list[Process] = []

    def run(*argv: str, prefix: tuple[str, ...] = (), folder: Path = HERE, **environment: str) -> Process:
        popen = subprocess.Popen(
            [*prefix, sys.executable, "-m", "remit.cli", *argv],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
        )
        started.append(Process(popen))
        return started[-1]

    yield run
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()
