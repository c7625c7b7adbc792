"""A module that a child cannot import at first."""

import os
from pathlib import Path

from remit import Run
from tests.runtime.mill import IN_CHILD, Broken, Mill, mill

if IN_CHILD and not (mark := Path(os.environ["MILL"]) / "imported").exists():
    mark.touch()
    raise ImportError("libmill.so.3: cannot open shared object file")


@mill.handles(Broken, mode="process")
def broken(job: Broken, run: Run[Mill]) -> int:
    return os.getpid()
