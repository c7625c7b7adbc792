"""`make demo`, or `PYTHONPATH=examples:. python -m shop.demo`."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from shop.demo.options import Options

CLEAN, FAULTS, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    """Play the demo. Exit status: 0 clean, 1 faults found, 2 could not be played, 130 interrupted."""
    options, kept = _read(sys.argv[1:])
    folder = kept or Path(tempfile.mkdtemp(prefix="remit-shop-"))
    try:
        from shop.demo.conductor import play_in  # takes a second to import, in which Ctrl-C may come

        clean = play_in(folder, options)
    except KeyboardInterrupt:
        left = f"its files are in {kept}" if kept else "its data are gone"
        print(f"interrupted: every process of the demo has ended, and {left}", file=sys.stderr)
        return INTERRUPTED
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
    if clean is None:
        return REFUSED
    return CLEAN if clean else FAULTS


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
        if kept.exists():
            parser.error(f"--keep: {kept} is there already; name a new folder")
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
