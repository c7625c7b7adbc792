"""The handle of a worker's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.contenders.contender import Side
from benchmarks.ledger import PLACE, Ledger

ROOT = Path(__file__).parent.parent
PATIENCE = 5.0
"""Seconds that a worker gets to stop by itself."""


class WorkerDied(RuntimeError):
    """A worker ended although nobody told it to; the message holds the end of its log."""


class WorkerProcess:
    """Starts a worker, and ends it with its children: a session of its own, signalled by its id."""

    def __init__(self, contender: Side, ledger: Ledger, log: Path) -> None:
        self._log = log
        self._name = contender.name
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {PLACE: str(ledger.path), "PYTHONPATH": os.pathsep.join(path)}
        kind = type(contender)
        command = [sys.executable, "-m", "benchmarks.child", kind.__module__, kind.__name__, contender.url]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=ROOT, start_new_session=True
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)  # the session that it leads, nobody else's
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def check(self) -> None:
        """Raises `WorkerDied`."""
        if self._process.poll() is not None:
            end = self._log.read_text(errors="replace")[-2000:]
            raise WorkerDied(f"the worker of {self._name} ended with {self._process.returncode}:\n{end}")

    def processes(self) -> list[psutil.Process]:
        """It and its children."""
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]
