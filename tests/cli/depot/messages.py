from remit import Domain, Job, Retry, fixed


class Depot(Domain[None]):
    """A warehouse."""


depot = Depot()
parcels = depot.queue("parcels", concurrency=4)
reports = depot.queue("reports", concurrency=2)


class Pack(Job[Depot], queue=parcels):
    """Succeeds, as soon as the file `until` is there."""

    number: int = 0
    until: str = ""


class Lose(Job[Depot], queue=parcels, retry=Retry(attempts=1)):
    """Fails for good."""

    number: int


class Weigh(Job[Depot], queue=reports, retry=Retry(attempts=3, backoff=fixed(3600))):
    """Fails, and is tried again in an hour."""

    number: int


class Recount(Job[Depot], queue=reports, version=2, timeout=3600):
    """Finds that there is nothing to do. Its handler is a thread, which no timeout can stop."""

    shelf: str


class Block(Job[Depot], queue=reports):
    """Blocks the event loop."""

    seconds: float


class Orphan(Job[Depot], queue=reports):
    """Leaves a process behind, which nobody waits for."""
