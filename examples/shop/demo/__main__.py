"""`make demo`, or `PYTHONPATH=examples:. python -m shop.demo`."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from shop.demo.conductor import Options, play
from shop.demo.refusal import Refusal

CLEAN, FAULTS, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    """Play the demo. Exit status: 0 clean, 1 faults found, 2 could not be played, 130 interrupted."""
    options, kept = _read(sys.argv[1:])
    console = Console(highlight=False)
    folder = kept or Path(tempfile.mkdtemp(prefix="remit-shop-"))
    try:
        return CLEAN if asyncio.run(_interruptible(options, folder, console)) else FAULTS
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted: every process has ended, and the demo's data are gone", style="yellow")
        return INTERRUPTED
    except Refusal as refusal:
        Console(stderr=True, highlight=False).print(str(refusal), style="red", markup=False)
        return REFUSED
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _interruptible(options: Options, folder: Path, console: Console) -> bool:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await play(options, folder, console)
    except* Refusal as refusals:
        first: BaseException = refusals
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def _read(arguments: list[str]) -> tuple[Options, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m shop.demo", description="A shop at work, with an accident.")
    parser.add_argument("--orders", type=int, help="how many orders of the CSV (default: all)")
    parser.add_argument("--rate", type=float, default=Options.rate, help="orders a second (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=Options.clients, help="clients at once (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=Options.workers, help="worker processes (default: %(default)s)")
    parser.add_argument("--lease", type=float, default=Options.lease, help="seconds of a lease (default: %(default)s)")
    parser.add_argument("--port", type=int, help="where the shop listens (default: a free port)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="use this new folder for all files, and leave them")
    given = parser.parse_args(arguments)
    kept: Path | None = given.keep
    if kept is not None:
        kept = kept.absolute()
        kept.mkdir(parents=True)
    options = Options(
        url=os.environ.get("DATABASE_URL"),
        store=os.environ.get("STORE"),
        orders=given.orders,
        rate=given.rate,
        clients=given.clients,
        workers=given.workers,
        lease=given.lease,
        port=given.port,
    )
    return options, kept


if __name__ == "__main__":
    sys.exit(main())
