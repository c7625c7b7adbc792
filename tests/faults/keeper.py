"""Another application on the same store, of an older release: it knows one job of the yard, in its old shape.

Its workers lead and rescue; what they do not know they leave to others.
"""

from __future__ import annotations

from remit import Domain, Job, Retry, Run, fixed
from tests.faults.application import told


class OldYard(Domain[None], name="yard", handlers="tests.faults.keeper", retry=Retry(attempts=3, backoff=fixed(0.01))):
    """What the yard was before."""


yard = OldYard()
quick = yard.queue("quick", concurrency=5)
retired = yard.queue("retired", concurrency=1)


class Retired(Job[OldYard], queue=retired, name="yard.note-in-thread"):
    """Named as a job that has moved to another queue since."""

    number: int


class Versioned(Job[OldYard], queue=quick):
    """What the present release knows as version 2 only."""

    number: int


@yard.handles(Versioned)
async def versioned(job: Versioned, run: Run[OldYard]) -> str:
    with told(job, run):
        return "old"


@yard.handles(Retired)
async def run_retired(job: Retired, run: Run[OldYard]) -> None:
    with told(job, run):
        pass
