"""Keeps a number of worker processes alive: starts them, stops them, replaces those that die, ends with them.

Every worker is a fresh interpreter, never a fork, with one end of a socket whose other end only the supervisor holds.
The worker says there that it is ready, and is told to stop. From the end of the stream it learns that the supervisor is
gone, however it went. Signals are not passed on as signals: a service manager may send its own to every process at
once, and the two together would look like a person who cannot wait. No thread and no event loop runs here, so a signal
finds the supervisor in one place only.

A supervisor owns its process: it waits for any child, so that it can be the first process of a container, which
inherits the orphans of all the others.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from remit.runtime.signals import STOPPING, cause
from remit.telemetry import SupervisorTelemetry

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before a worker that keeps dying is started again: the first pause, doubled each time up to the last."""
STABLE_AFTER = 10.0
"""Seconds that a worker must have lived for its death to be an accident, not a habit."""

_READY = b"r"
_STOP, _STOP_NOW = b"1", b"2"
_GRACEFUL = (0, -signal.SIGTERM)
"""How a worker ends that was asked to; by a signal, where somebody sends one to all and it came too early."""


@dataclass(slots=True)
class _Place:
    """One of the workers that there should be, and the process that is it now."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    channel: socket.socket | None = None
    started: float = 0.0
    quick_deaths: int = 0
    start_at: float | None = 0.0

    @property
    def wobbles(self) -> bool:
        return self.quick_deaths > 1


class Supervisor:
    """Runs `processes` workers until a signal ends it.

    `command` gives the arguments of worker number n (from 1), whose side of the channel is an open file descriptor.
    The first worker is started alone, and the others when it is ready: what keeps it from starting would keep them
    all, so its exit status is then the supervisor's, and nothing is started again.
    """

    def __init__(
        self,
        command: Callable[[int, int], Sequence[str]],
        processes: int,
        *,
        first_pause: float = FIRST_PAUSE,
        last_pause: float = LAST_PAUSE,
        stable_after: float = STABLE_AFTER,
    ) -> None:
        self._command = command
        self._first_pause = first_pause
        self._last_pause = last_pause
        self._stable_after = stable_after
        self._places = [_Place(number) for number in range(1, processes + 1)]
        self._selector = selectors.DefaultSelector()
        self._telemetry = SupervisorTelemetry()
        self._asked = 0
        self._proved = False
        self._status = 0

    def run(self) -> int:
        """Supervise until every worker has ended; answers the exit status of the whole: 0 after a graceful stop."""
        with self._signals():
            while not self._ended():
                self._start_due()
                for key, _ in self._selector.select(self._patience()):
                    if key.data is None:
                        self._take_signals()
                    else:
                        self._listen(key.data)
                self._reap()
                self._trust_again()
        return self._status

    def _ended(self) -> bool:
        started = any(place.process for place in self._places)
        return not started and (self._asked > 0 or all(place.start_at is None for place in self._places))

    # A worker starts, is ready, dies

    def _start_due(self) -> None:
        if self._asked:
            return
        now = time.monotonic()
        for place in self._places if self._proved else self._places[:1]:
            if place.process is None and place.start_at is not None and place.start_at <= now:
                self._start(place)

    def _start(self, place: _Place) -> None:
        place.started, place.start_at = time.monotonic(), None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                place.process = subprocess.Popen(
                    self._command(place.number, theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # a Ctrl-C in the terminal is for us alone
                )
            except OSError as error:  # no memory, or too many processes, at this moment
                ours.close()
                self._ended_badly(place, f"worker process {place.number}", f"it could not be started: {error}", 0.0)
                return
        place.channel = ours
        self._selector.register(ours, selectors.EVENT_READ, place)

    def _listen(self, place: _Place) -> None:
        """Hear that a worker is ready; at the end of the stream, stop listening."""
        while place.channel is not None:
            try:
                heard = place.channel.recv(64)
            except BlockingIOError:
                return
            except OSError:
                heard = b""
            if heard:
                self._proved = True
            else:
                self._hang_up(place)

    def _hang_up(self, place: _Place) -> None:
        if place.channel is not None:
            self._selector.unregister(place.channel)
            place.channel.close()
            place.channel = None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for place in self._places:
                if place.process is not None and place.process.pid == pid:
                    self._reaped(place, os.waitstatus_to_exitcode(status))

    def _reaped(self, place: _Place, code: int) -> None:
        assert place.process is not None
        name, lived = f"worker process {place.number} (pid {place.process.pid})", time.monotonic() - place.started
        place.process.returncode = code  # it was waited for here, not by Popen
        place.process = None
        self._listen(place)
        self._hang_up(place)
        if not self._asked:
            self._ended_badly(place, name, cause(code), lived, code)
        elif code not in _GRACEFUL:
            self._telemetry.ended_badly(name, cause(code))
            self._status = 1

    def _ended_badly(self, place: _Place, name: str, why: str, lived: float, code: int = -1) -> None:
        if self._proved:
            self._start_again(place, name, why, lived)
            return
        self._status = code if code > 0 else 1
        if code <= 0:  # otherwise it has said itself what was wrong
            self._telemetry.never_ready(name, why)
        for each in self._places:
            each.start_at = None

    def _start_again(self, place: _Place, name: str, why: str, lived: float) -> None:
        place.quick_deaths = 1 if lived >= self._stable_after else place.quick_deaths + 1
        pause = 0.0
        if place.wobbles:
            pause = min(self._last_pause, self._first_pause * 2.0 ** min(place.quick_deaths - 2, 30))
        place.start_at = time.monotonic() + pause
        if place.quick_deaths == 1:
            self._telemetry.died(name, why)
        elif place.quick_deaths == 2:
            self._telemetry.died_quickly(name, why, lived, self._last_pause)
        else:
            self._telemetry.died_again(name, why)

    # Signals and time

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into bytes that the selector sees."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ, None)
        self._reader = reader
        heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, _nothing) for number in (*heeded, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _take_signals(self) -> None:
        for number in self._reader.recv(4096):
            if number in STOPPING:
                self._ask(signal.Signals(number))

    def _ask(self, number: signal.Signals) -> None:
        """The first signal stops the workers gracefully, the second at once, the third kills them."""
        self._asked += 1
        words = {1: "stopping", 2: "stopping now"}.get(self._asked, "killing")
        running = [place for place in self._places if place.process is not None]
        self._telemetry.stopping(number.name, words, len(running))
        for place in running:
            self._tell(place)

    def _tell(self, place: _Place) -> None:
        with suppress(OSError):  # it has ended meanwhile
            if self._asked > 2 and place.process is not None:
                os.kill(place.process.pid, signal.SIGKILL)
            elif place.channel is not None:
                place.channel.send(_STOP if self._asked == 1 else _STOP_NOW)

    def _patience(self) -> float | None:
        """Seconds until something is due without a signal; None where nothing is."""
        now = time.monotonic()
        due = [place.start_at for place in self._places if place.start_at is not None] if self._proved else []
        due += [place.started + self._stable_after for place in self._wobbling()]
        return max(0.0, min(due) - now) if due and not self._asked else None

    def _wobbling(self) -> list[_Place]:
        return [place for place in self._places if place.wobbles and place.process is not None]

    def _trust_again(self) -> None:
        """What has lived for long enough is no crash loop any more."""
        for place in self._wobbling():
            if time.monotonic() - place.started >= self._stable_after:
                place.quick_deaths = 0
                self._telemetry.stays_up(place.number, self._stable_after)


def _nothing(*_: object) -> None:
    """Without a Python handler a signal would not reach the wake-up descriptor."""


class Supervised:
    """The worker's end of the channel."""

    def __init__(self, descriptor: int) -> None:
        self._channel = socket.socket(fileno=descriptor)
        self._channel.set_inheritable(False)  # what a handler starts must not keep the channel open

    def watch(self, stop: Callable[[int], None]) -> None:
        """Call `stop`, in a thread of its own, when the supervisor says so: with 1 gracefully, with 2 now.

        It is called with 1 when the supervisor is gone.
        """

        def listen() -> None:
            with suppress(OSError):
                while heard := self._channel.recv(1):
                    stop(int(heard))
            stop(1)

        threading.Thread(target=listen, name="remit-supervisor", daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this worker has started."""
        with suppress(OSError):
            self._channel.send(_READY)
