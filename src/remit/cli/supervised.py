"""A worker process under a supervisor, which starts `python -m remit.cli.supervised <orders> <descriptor>`."""

from __future__ import annotations

import json
import sys

from remit.cli.exits import complain, exit_of
from remit.cli.serving import Orders, serve
from remit.cli.stopping import StopSwitch
from remit.errors import RemitError
from remit.runtime.supervisor import Supervised


def main() -> int:
    """Run a worker with these settings, until the supervisor, its end or a signal stops it."""
    stop = StopSwitch(supervised=True)
    stop.install()
    try:
        supervised = Supervised(int(sys.argv[2]))
        supervised.watch(stop.ask)
        return serve(Orders(**json.loads(sys.argv[1])), stop, supervised.ready)
    except StopSwitch.Stopped:
        return 0
    except RemitError as error:
        complain(error)
        return exit_of(error)


if __name__ == "__main__":
    sys.exit(main())
