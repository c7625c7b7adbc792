"""What programs ask of a store: send jobs, look at them, manage them. Written once, with a blocking face."""

from remit.client.events import Events, SyncEvents
from remit.client.faces import BlockingFace
from remit.client.filters import JobFilter
from remit.client.jobs import Jobs, SyncJobs
from remit.client.queues import QueueRecord, Queues, SyncQueues
from remit.client.rail import DirectRail
from remit.client.sender import OWN_TRANSACTION, Ambient, StoreSender
from remit.client.subscriptions import Subscriptions, SyncSubscriptions
from remit.client.workers import SyncWorkers, Workers

__all__ = [
    "OWN_TRANSACTION",
    "Ambient",
    "BlockingFace",
    "DirectRail",
    "Events",
    "JobFilter",
    "Jobs",
    "QueueRecord",
    "Queues",
    "StoreSender",
    "Subscriptions",
    "SyncEvents",
    "SyncJobs",
    "SyncQueues",
    "SyncSubscriptions",
    "SyncWorkers",
    "Workers",
]
