"""A module that a child imports for as long as the test wants: a file holds it."""

import os
import time
from pathlib import Path

from remit import Run
from tests.runtime.mill import IN_CHILD, Heavy, Mill, mill, note

if IN_CHILD and (hold := Path(os.environ["MILL"]) / "hold").exists():
    note(hold.parent, "importing")
    while hold.exists():
        time.sleep(0.005)


@mill.handles(Heavy, mode="process")
def heavy(job: Heavy, run: Run[Mill]) -> object:
    return {"cancelled": run.cancelled}
