"""What programs ask of a store: send jobs, look at them, manage them. Written once, with a blocking face."""

from remit.client.faces import BlockingFace
from remit.client.jobs import Jobs, SyncJobs
from remit.client.queues import QueueRecord, Queues, SyncQueues
from remit.client.sender import StoreSender
from remit.client.workers import SyncWorkers, Workers

__all__ = [
    "BlockingFace",
    "Jobs",
    "QueueRecord",
    "Queues",
    "StoreSender",
    "SyncJobs",
    "SyncQueues",
    "SyncWorkers",
    "Workers",
]
