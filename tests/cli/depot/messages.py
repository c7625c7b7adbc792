from remit import Domain, Job, Retry, fixed


class Depot(Domain[None]):
    """A warehouse."""


depot = Depot()
parcels = depot.queue("parcels", concurrency=4)
reports = depot.queue("reports", concurrency=2)


class Pack(Job[Depot], queue=parcels):
    """Succeeds, after `seconds`; appends its number to `ledger`, if there is one."""

    number: int = 0
    seconds: float = 0.0
    ledger: str = ""


class Lose(Job[Depot], queue=parcels, retry=Retry(attempts=1)):
    """Fails for good."""

    number: int


class Weigh(Job[Depot], queue=reports, retry=Retry(attempts=3, backoff=fixed(3600))):
    """Fails, and is tried again in an hour."""

    number: int


class Recount(Job[Depot], queue=reports, version=2):
    """Finds that there is nothing to do."""

    shelf: str


class Hang(Job[Depot], queue=reports):
    """Blocks a thread for so long."""

    seconds: float
