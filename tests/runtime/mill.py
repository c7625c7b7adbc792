"""A domain whose process-mode handlers do to their process what a process can bear."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from remit import Domain, Job, Retry, Run, fixed


class Mill(Domain[Path], handlers="tests.runtime.mill_handlers", retry=Retry(attempts=1)):
    pass


mill = Mill()
stones = mill.queue("stones", concurrency=2)


class Grind(Job[Mill], queue=stones):
    how: str
    folder: str


class Hurry(Job[Mill], queue=stones, timeout=1):
    """Has a second."""

    folder: str


class Heavy(Job[Mill], queue=stones, timeout=1):
    """Has a second as well, and the import of its module takes longer in a child."""

    folder: str


class Broken(Job[Mill], queue=stones, retry=Retry(attempts=2, backoff=fixed(0.01))):
    """Its module cannot be imported in a child the first time."""

    folder: str


class Flour(Job[Mill], max_payload=2**26):
    text: str


IN_CHILD = "remit.runtime.handlers.child" in sys.orig_argv


@mill.context
def folder() -> Iterator[Path]:
    """Leaves a file behind for each process that has closed it."""
    place = Path(os.environ["MILL"])
    yield place
    if IN_CHILD:
        (place / f"closed-{os.getpid()}").touch()


def note(place: Path, name: str, pid: int | None = None) -> None:
    """Leave a process id where the test finds it whole."""
    (place / f".{name}").write_text(str(pid or os.getpid()))
    (place / f".{name}").rename(place / name)


def start_a_tree(place: Path) -> None:
    """A command, and a fork that ignores SIGTERM: what a pool of workers or a converter is."""
    note(place, "command", subprocess.Popen(["sleep", "600"]).pid)

    def linger() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(place, "fork")
        time.sleep(600)

    multiprocessing.get_context("fork").Process(target=linger).start()
    while not (place / "fork").exists():
        time.sleep(0.005)
    note(place, "handler")


def own_socket() -> int:
    """The descriptor of the socket to the worker, as a handler finds that looks for trouble."""
    return next(
        int(each) for each in os.listdir("/proc/self/fd") if _target(each).startswith("socket:") and int(each) > 2
    )


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


@mill.handles(Flour)
async def on_flour(job: Flour, run: Run[Mill]) -> int:
    return len(job.text)


@mill.handles(Hurry, mode="process")
def hurry(job: Hurry, run: Run[Mill]) -> None:
    start_a_tree(Path(job.folder))
    time.sleep(600)


@mill.handles(Grind, mode="process")
def grind(job: Grind, run: Run[Mill]) -> object:  # noqa: PLR0912 - one branch for each thing to do
    place = Path(job.folder)
    match job.how:
        case "pid":
            return os.getpid()
        case "tree" | "tree and exit" | "tree and segfault" | "tree and return":
            start_a_tree(place)
            run.log.info("the tree stands")
            if job.how == "tree and exit":
                os._exit(3)
            if job.how == "tree and segfault":
                ctypes.string_at(0)
            if job.how == "tree":
                time.sleep(600)
            return None
        case "real-time signal":
            os.kill(os.getpid(), signal.SIGRTMIN + 4)
        case "terminate":
            command = subprocess.Popen(["sleep", "600"])
            command.terminate()
            fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            fork.start()
            fork.terminate()
            fork.join()
            return [command.wait(), fork.exitcode]
        case "be signalled":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(os.getpid(), number)
            return "unmoved"
        case "fork and return":
            note(place, f"returned-{'fork' if os.fork() == 0 else 'handler'}")
            return os.getpid()
        case "fork and raise":
            if os.fork() == 0:
                raise RuntimeError("in the fork")
            return "in the handler"
        case "garbage":
            os.write(own_socket(), b"Warning: something on descriptor 3\n")
            time.sleep(600)
        case "a little garbage":
            os.write(own_socket(), b"!")
        case "close":
            os.closerange(3, 256)
            time.sleep(600)
        case "replace":
            descriptor = own_socket()
            os.closerange(3, 256)
            file = os.open(place / "mine", os.O_RDWR | os.O_CREAT)
            os.dup2(file, descriptor)
            run.log.info("this belongs on no file of mine")
        case "descriptors":
            return sorted(
                int(each)
                for each in subprocess.run(
                    ["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True
                ).stdout.split()
            )
        case "environment":
            return {"PYTHONPATH": os.environ.get("PYTHONPATH"), "path": sys.path}
        case "log badly":
            run.log.info("%d of %d", 1)  # noqa: PLE1206
        case "log in threads":
            threads = [
                threading.Thread(target=lambda n=n: [run.log.info("%d", n) for _ in range(100)]) for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        case "log and be interrupted":
            return _log_and_be_interrupted(run)
        case "much":
            for _ in range(3):
                run.enqueue(Flour(text="x" * 5_000_000))
        case _:
            raise AssertionError(job.how)
    return None


class Interrupted(Exception):
    pass


def _log_and_be_interrupted(run: Run[Mill]) -> int:
    """A handler with a timeout of its own by SIGALRM, which strikes wherever the main thread is."""

    def strike(*_: object) -> None:
        raise Interrupted

    struck = 0
    signal.signal(signal.SIGALRM, strike)
    for _ in range(100):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            for _ in range(50_000):  # now and then it strikes in a finalizer, where Python drops what it raises
                run.log.info("%s", "x" * 2_000)
        except Interrupted:
            struck += 1
    return struck
