"""Keeps a number of worker processes alive: starts them, passes signals on, replaces those that die, ends with them.

Every worker is a fresh interpreter, never a fork, with one end of a socket whose other end only the supervisor holds.
The worker says there that it is ready, and learns from the end of the stream that the supervisor is gone, however it
went. No thread and no event loop runs here, so a signal finds the supervisor in one place only.

A supervisor owns its process: it waits for any child, so that it can be the first process of a container, which inherits
the orphans of all the others.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

log = logging.getLogger("remit.supervisor")

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before a worker that keeps dying is started again: the first pause, doubled each time up to the last."""
STABLE_AFTER = 10.0
"""Seconds that a worker must have lived for its death to be an accident, not a habit."""

_READY = b"r"
_ASKING = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class _Place:
    """One of the workers that there should be, and the process that is it now."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    channel: socket.socket | None = None
    started: float = 0.0
    ready: bool = False
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
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            place.process = subprocess.Popen(
                self._command(place.number, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # a Ctrl-C in the terminal comes to us alone, and from us once to each
            )
        place.channel, place.ready = ours, False
        place.started, place.start_at = time.monotonic(), None
        self._selector.register(ours, selectors.EVENT_READ, place)

    def _listen(self, place: _Place) -> None:
        assert place.channel is not None
        heard = b""
        with suppress(OSError):
            heard = place.channel.recv(64)
        if heard:
            place.ready = self._proved = True
        else:
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
                    self._buried(place, os.waitstatus_to_exitcode(status))

    def _buried(self, place: _Place, code: int) -> None:
        assert place.process is not None
        pid, lived = place.process.pid, time.monotonic() - place.started
        place.process.returncode = code  # it was waited for here, not by Popen
        place.process = None
        if place.channel is not None:
            self._listen_to_the_end(place)
        if self._asked:
            if code not in (0, -signal.SIGTERM, -signal.SIGINT) and not self._status:
                log.error("worker process %d (pid %d) ended badly: %s", place.number, pid, cause(code))
                self._status = 1
        elif not self._proved:
            self._status = code if code > 0 else 1
            if code <= 0:
                log.error("the first worker process (pid %d) died before it was ready: %s", pid, cause(code))
            for other in self._places:
                other.start_at = None
        else:
            self._replace(place, pid, code, lived)

    def _listen_to_the_end(self, place: _Place) -> None:
        while place.channel is not None:
            self._listen(place)

    def _replace(self, place: _Place, pid: int, code: int, lived: float) -> None:
        if lived >= self._stable_after:
            place.quick_deaths = 0
        place.quick_deaths += 1
        pause = 0.0
        if place.wobbles:
            pause = min(self._last_pause, self._first_pause * 2.0 ** min(place.quick_deaths - 2, 30))
        place.start_at = time.monotonic() + pause
        if place.quick_deaths == 1:
            log.error("worker process %d (pid %d) died: %s; it is started again", place.number, pid, cause(code))
        elif place.quick_deaths == 2:
            log.error(
                "worker process %d (pid %d) died again after %.1f s: %s; it is started again and again, after pauses "
                "that grow to %.0f s, and this is said once",
                place.number, pid, lived, cause(code), self._last_pause,
            )  # fmt: skip
        else:
            log.debug("worker process %d (pid %d) died again: %s", place.number, pid, cause(code))

    # Signals and time

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into bytes that the selector sees."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ, None)
        self._reader = reader
        before = {number: signal.signal(number, _nothing) for number in (*_ASKING, signal.SIGCHLD)}
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
            if number in _ASKING:
                self._ask(signal.Signals(number))

    def _ask(self, number: signal.Signals) -> None:
        """Pass a signal on: the first stops the workers gracefully, the second at once, the third kills them."""
        self._asked += 1
        words = {1: "stopping", 2: "stopping now"}.get(self._asked, "killing")
        running = [place.process for place in self._places if place.process is not None]
        log.info("%s: %s %d worker processes", number.name, words, len(running))
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number if self._asked < 3 else signal.SIGKILL)

    def _patience(self) -> float | None:
        """Seconds until something is due without a signal; None where nothing is."""
        now = time.monotonic()
        due = [place.start_at for place in self._places if place.start_at is not None] if self._proved else []
        for place in self._places:
            if place.wobbles and place.process is not None:
                due.append(self._settled(place, now))
        return max(0.0, min(due) - now) if due and not self._asked else None

    def _settled(self, place: _Place, now: float) -> float:
        """When a worker that kept dying is trusted again; says so when it is."""
        at = place.started + self._stable_after
        if at <= now:
            log.info("worker process %d has been up for %.0f s again", place.number, self._stable_after)
            place.quick_deaths = 0
        return at if at > now else now + self._stable_after


def _nothing(*_: object) -> None:
    """Without a Python handler a signal would not reach the wake-up descriptor."""


def cause(code: int) -> str:
    """Why a process ended, for people."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


class Supervised:
    """The worker's end of the channel."""

    def __init__(self, descriptor: int) -> None:
        self._channel = socket.socket(fileno=descriptor)
        self._channel.set_inheritable(False)  # what a handler starts must not keep the channel open

    def watch(self, orphaned: Callable[[], None]) -> None:
        """Call `orphaned`, in a thread of its own, when the supervisor is gone."""

        def wait() -> None:
            with suppress(OSError):
                while self._channel.recv(64):
                    pass
            orphaned()

        threading.Thread(target=wait, name="remit-supervisor", daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this worker has started."""
        with suppress(OSError):
            self._channel.send(_READY)


def python() -> list[str]:
    """The interpreter that runs now, to start another one like it."""
    return [sys.executable, *(["-u"] if getattr(sys.stdout, "write_through", False) else [])]
