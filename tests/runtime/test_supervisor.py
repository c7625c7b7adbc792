"""The supervisor with workers that are tiny: it starts them, replaces them, passes signals on, and ends with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from remit.runtime.signals import cause
from remit.runtime.supervisor import Supervised as SupervisedEnd

PATIENCE = 20.0

_SUPERVISOR = """
import logging, sys
from remit.runtime.supervisor import Supervisor
logging.basicConfig(level="DEBUG", format="%(levelname)s %(message)s", stream=sys.stdout)
command = lambda number, descriptor: [sys.executable, "-S", "-c", sys.argv[1], str(number), str(descriptor)]
stable_after, first, last = (float(argument) for argument in sys.argv[3:])
sys.exit(Supervisor(command, int(sys.argv[2]), first_pause=first, last_pause=last, stable_after=stable_after).run())
"""

_WORKER = """
import os, signal, socket, sys, time
number, channel = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
def say(text): os.write(1, f"{number} {text}\\n".encode())
def ready(): channel.send(b"r"); say(f"ready {os.getpid()}")
"""

_OBEDIENT = """
ready()
say("told to stop" if channel.recv(1) else "orphaned")
"""


class Supervised:
    """A supervisor in a process of its own; its lines, and those of its workers."""

    def __init__(self, script: str, processes: int, stable_after: float, pauses: tuple[float, float]) -> None:
        numbers = [str(number) for number in (processes, stable_after, *pauses)]
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISOR, _WORKER + textwrap.dedent(script), *numbers],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str, times: int = 1) -> str:
        eventually(lambda: len(self.having(text)) >= times, lambda: f"{text!r} ({times} times) in {self.lines}")
        return self.having(text)[times - 1]

    def having(self, text: str) -> list[str]:
        return [line for line in list(self.lines) if text in line]

    def pids(self, times: int) -> list[int]:
        """The workers that have said they are ready, in that order."""
        self.wait_for(" ready ", times)
        return [int(line.split()[-1]) for line in self.having(" ready ")]

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        status = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status


def eventually(condition: Callable[[], Any], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what()}")
        time.sleep(0.005)


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise() -> Iterator[Supervise]:
    started: list[Supervised] = []

    def run(
        script: str, processes: int = 1, *, stable_after: float = 60.0, pauses: tuple[float, float] = (0.05, 0.2)
    ) -> Supervised:
        started.append(Supervised(script, processes, stable_after, pauses))
        return started[-1]

    yield run
    for supervised in started:
        if supervised.popen.poll() is None:
            supervised.popen.kill()
            supervised.popen.wait()


def test_workers_are_fresh_processes_that_end_with_a_signal(supervise: Supervise) -> None:
    supervised = supervise(_OBEDIENT, 3)
    pids = supervised.pids(3)
    assert len({*pids, supervised.popen.pid}) == 4
    assert {line.split()[0] for line in supervised.having(" ready ")} == {"1", "2", "3"}
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "INFO SIGTERM: stopping 3 worker processes" in supervised.lines
    assert len(supervised.having("told to stop")) == 3


def test_the_first_is_started_alone(supervise: Supervise, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"""
    say("started")
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
    """
    supervised = supervise(textwrap.dedent(script) + _OBEDIENT, 3)
    supervised.wait_for("started")
    assert len(psutil.Process(supervised.popen.pid).children()) == 1
    go.touch()
    supervised.pids(3)


def test_what_keeps_the_first_from_starting_is_the_end(supervise: Supervise) -> None:
    supervised = supervise("say('no such application'); sys.exit(2)", 3)
    assert supervised.end() == 2
    assert supervised.lines == ["1 no such application"]  # it has said what was wrong


def test_a_first_that_is_killed_before_it_is_ready_is_an_error(supervise: Supervise) -> None:
    supervised = supervise("os.kill(os.getpid(), signal.SIGKILL)", 3)
    assert supervised.end() == 1
    [line] = supervised.lines
    assert line.startswith("ERROR worker process 1 (pid ")
    assert line.endswith("), the first, ended before it was ready: signal SIGKILL")


def test_a_worker_that_dies_is_replaced_at_once(supervise: Supervise) -> None:
    supervised = supervise(_OBEDIENT, 2)
    first, _ = supervised.pids(2)
    os.kill(first, signal.SIGKILL)
    *_, third = supervised.pids(3)
    number = supervised.having(str(first))[0].split()[0]
    assert supervised.having(str(third))[0].split()[0] == number
    assert f"ERROR worker process {number} (pid {first}) died: signal SIGKILL; it is started again" in supervised.lines
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 0


def test_a_worker_that_ends_unasked_is_replaced_too(supervise: Supervise) -> None:
    supervised = supervise(_OBEDIENT, 1)
    [first] = supervised.pids(1)
    os.kill(first, signal.SIGTERM)  # a person restarts one of them
    supervised.pids(2)
    assert "died: signal SIGTERM; it is started again" in supervised.wait_for("died")


def test_a_crash_loop_is_slowed_down_and_said_once(supervise: Supervise) -> None:
    started = time.monotonic()
    supervised = supervise("ready(); sys.exit(7)", 1)
    supervised.wait_for("DEBUG", times=4)
    assert len(supervised.having("ERROR")) == 2
    assert "as the one before it: exit status 7; it is started again whenever it dies" in supervised.having("ERROR")[1]
    assert time.monotonic() - started > 0.05 + 0.1 + 0.2 + 0.2  # pauses double up to the longest
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 0


def test_a_worker_that_stays_up_is_trusted_again(supervise: Supervise, tmp_path: Path) -> None:
    script = f"""
    count = len(os.listdir({str(tmp_path)!r}))
    open(f"{tmp_path}/{{count}}", "w").close()
    """
    supervised = supervise(
        textwrap.dedent(script) + "ready() if count < 3 else None\nif count < 3: sys.exit(1)" + _OBEDIENT,
        1,
        stable_after=0.5,
    )
    supervised.wait_for("INFO worker process 1 has stayed up for ")
    os.kill(supervised.pids(4)[-1], signal.SIGKILL)
    assert supervised.wait_for("signal SIGKILL").endswith("died: signal SIGKILL; it is started again")


def test_workers_learn_that_the_supervisor_is_gone(supervise: Supervise) -> None:
    supervised = supervise(_OBEDIENT, 2)
    pids = supervised.pids(2)
    supervised.popen.kill()
    supervised.wait_for("orphaned", times=2)
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), lambda: "the workers end")


def test_a_second_signal_is_told_and_a_third_kills(supervise: Supervise) -> None:
    supervised = supervise(
        """
        signal.signal(signal.SIGTERM, lambda *_: say("a signal"))
        ready()
        while True: say("told " + channel.recv(1).decode())
        """
    )
    supervised.pids(1)
    supervised.signal(signal.SIGINT)
    supervised.wait_for("told 1")
    supervised.signal(signal.SIGTERM)
    supervised.wait_for("told 2")
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 1
    assert [line.split(":")[1].split(" 1 ")[0] for line in supervised.having("INFO")] == [
        " stopping", " stopping now", " killing",
    ]  # fmt: skip
    assert supervised.lines[-1].endswith("ended badly: signal SIGKILL")
    assert not supervised.having("a signal")


def test_a_signal_during_the_start_ends_it_cleanly(supervise: Supervise) -> None:
    supervised = supervise("say('booting'); time.sleep(0.2); sys.exit(0 if channel.recv(1) == b'1' else 5)", 3)
    supervised.wait_for("booting")
    supervised.signal(signal.SIGTERM)  # the worker does not listen yet
    assert supervised.end() == 0


def test_a_signal_between_two_restarts_ends_it(supervise: Supervise) -> None:
    supervised = supervise("ready(); sys.exit(7)", 2, pauses=(60, 60))
    supervised.wait_for("as the one before it", times=2)
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 0


def test_a_worker_that_ends_badly_at_a_stop_shows_in_the_status(supervise: Supervise) -> None:
    supervised = supervise("ready(); channel.recv(1); sys.exit(9)")
    supervised.pids(1)
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 1
    assert supervised.lines[-1].endswith("ended badly: exit status 9")


def test_what_a_worker_left_behind_does_not_keep_it_alive(supervise: Supervise) -> None:
    """A grandchild that holds the channel must not make the supervisor believe that the worker lives."""
    supervised = supervise(
        """
        import subprocess
        subprocess.Popen(["sleep", "5"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ready()
        channel.recv(1)
        """
    )
    [first] = supervised.pids(1)
    os.kill(first, signal.SIGKILL)
    supervised.pids(2)
    supervised.signal(signal.SIGTERM)
    assert supervised.end() == 0


def test_the_workers_end_of_the_channel() -> None:
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    end = SupervisedEnd(theirs.detach())
    told: list[int] = []
    end.watch(told.append)
    end.ready()
    assert ours.recv(10)
    ours.send(b"1")
    ours.send(b"2")
    eventually(lambda: told == [1, 2], lambda: f"told to stop, and to stop now: {told}")
    ours.close()
    eventually(lambda: told == [1, 2, 1], lambda: f"told that the supervisor is gone: {told}")
    end.ready()  # too late, and no error


@pytest.mark.parametrize(
    "code, words", [(0, "exit status 0"), (3, "exit status 3"), (-9, "signal SIGKILL"), (-99, "signal 99")]
)
def test_causes(code: int, words: str) -> None:
    assert cause(code) == words
